SELECT ARRAY(SELECT a FROM t m JOIN u ON m.roleid = b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. b. \ud800
