import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;

/** Prints transactions, their total, and the lines read by pages; fails where an answer is wrong. */
public final class Client {
    public static void main(String[] arguments) throws Exception {
        try (Connection node =
                DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
            BigDecimal total = null;
            long count = 0;
            String sums = "SELECT COUNT(*), SUM(total) FROM authorisations WHERE total >= ?";
            try (PreparedStatement statement = node.prepareStatement(sums)) {
                // From the sixth execution on the driver prepares on the server, and reads binary.
                for (int execution = 0; execution < 8; execution++) {
                    statement.setBigDecimal(1, new BigDecimal("0.00"));
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        if (total != null && total.compareTo(rows.getBigDecimal(2)) != 0) {
                            throw new IllegalStateException("execution " + execution);
                        }
                        count = rows.getLong(1);
                        total = rows.getBigDecimal(2);
                    }
                }
            }
            try (ResultSet tables = node.getMetaData().getTables(null, "public", "benefit%", null)) {
                if (!tables.next()) {
                    throw new IllegalStateException("no tables");
                }
            }
            try (ResultSet columns =
                    node.getMetaData().getColumns(null, "public", "benefit_lines", null)) {
                if (!columns.next()) {
                    throw new IllegalStateException("no columns");
                }
            }
            // Pages live across the driver's calls inside a transaction.
            node.setAutoCommit(false);
            long lines = 0;
            try (PreparedStatement statement =
                    node.prepareStatement("SELECT line, date, occurred_at FROM transaction_lines")) {
                statement.setFetchSize(50_000);
                try (ResultSet rows = statement.executeQuery()) {
                    while (rows.next()) {
                        lines++;
                    }
                }
            }
            node.commit();
            System.out.println(count + " " + total.toPlainString() + " " + lines);
        }
    }
}
