"""Who buys and what is given: a merchant with terminals, people with cards, limited benefits."""

import json

from processes import must

MERCHANT = "shop"
UNIT_PRICES = {"milk": 150, "bread": 120, "fruit": 80, "juice": 200}
# Instruction, per, measure, most. What the terminals want at once is more than each of them.
LIMITS = [
    ("milk", "recipient", "units", 6),
    ("bread", "household", "amount_cents", 400),
    ("bread", "household", "uses", 5),
    ("fruit", "instruction", "amount_cents", 2000),
    ("juice", "instruction", "units", 150),
]
EFFECTS = {
    "milk": {"amount_off_cents": 100, "per": "unit"},
    "bread": {"percent_off_bp": 5000},
    "fruit": {"amount_off_cents": 25, "per": "unit"},
    "juice": {"amount_off_cents": 10, "per": "unit"},
}
FAMILIES = 8
CARDS = [f"04A{number:03X}" for number in range(24)]
# Two members of each family have the first cards; the others are cards of nobody known.
CODES = [f"32{number:04d}-{number:05d}" for number in range(2 * FAMILIES)]


def registry(terminals):
    """One merchant with all terminals, and one instruction for each product."""
    both = lambda text: {"lv": text, "en": text}
    iban = {"state": "LV57TREL0000002180451", MERCHANT: "LV65HABA0000055100001"}
    valid = {"from": "2020-01-01", "to": "2099-12-31"}

    def instruction(priority, name):
        of_it = [limit for limit in LIMITS if limit[0] == name]
        limits = [{"per": per, "period": "validity", "measure": measure, "max": most}
                  for _, per, measure, most in of_it]
        return {"id": name, "benefit": "food", "label": both(name), "version": 1, "valid": valid,
                "priority": priority, "recipients": {"everyone": True},
                "content": {"any": [{"category": f"food.{name}"}]}, "effect": EFFECTS[name],
                "funding": {"grantor_bp": 10000}, "show_remaining": True, "limits": limits}

    return {
        "grantors": [{"id": "state", "name": both("State"), "kind": "state", "iban": iban["state"],
                      "reg_no": "90000000001"}],
        "merchants": [{"id": MERCHANT, "name": both("Shop"), "reg_no": "40003000001",
                       "iban": iban[MERCHANT], "vat_no": "LV40003000001"}],
        "places": [{"id": "P1", "merchant": MERCHANT, "territory": "LV0001000",
                    "name": both("Shop")}],
        "terminals": [{"id": name, "place": "P1", "kind": "till"} for name in terminals],
        "contracts": [{"id": "C1", "grantor": "state", "merchant": MERCHANT, "from": "2020-01-01",
                       "to": None, "settlement": "monthly", "vat_bp": 2100,
                       "offline_excess": "grantor"}],
        "issuers": [{"id": "city", "name": both("Card"), "means": ["card_uid"]}],
        "benefits": [{"id": "food", "grantor": "state", "name": both("Food"), "legal_basis": "law",
                      "kind": "discount"}],
        "instructions": [instruction(10 * (at + 1), name) for at, name in enumerate(EFFECTS)],
    }


def person(number, code):
    attributes = {"birth_date": "1980-01-01", "territory": "LV0001000", "status": "alive",
                  "family_id": f"F-{number % FAMILIES}"}
    return {"specversion": "1.0", "id": f"p-{number}", "source": "/storm", "subject": code,
            "type": "lv.dagr.person.changed", "time": "2024-12-01T00:00:00+02:00",
            "data": {"person": code, "sequence": 1, "attributes": attributes}}


def means(number, card):
    holder = CODES[number] if number < len(CODES) else None
    return {"person": holder, "issuer": "city", "kind": "card_uid", "value": card,
            "valid_from": "2020-01-01", "valid_to": None}


async def prepare(avis, folder, connections):
    """Makes the folder that every time begins with; gives each terminal's token."""
    names = [f"T-{number:03d}" for number in range(connections)]
    files = {
        "registry.json": json.dumps(registry(names)),
        "persons.ndjson": "\n".join(json.dumps(person(*one)) for one in enumerate(CODES)),
        "means.ndjson": "\n".join(json.dumps(means(*one)) for one in enumerate(CARDS)),
    }
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    data = folder / "data"
    await must(avis, "registry", "apply", folder / "registry.json", "--data", data)
    for what, count in (("persons", len(CODES)), ("means", len(CARDS))):
        told = await must(avis, "load", what, folder / f"{what}.ndjson", "--data", data)
        if f"{count} taken" not in told:
            raise RuntimeError(told)
    issue = ("token", "issue", "--role", "terminal", "--organisation", MERCHANT)
    return {name: (await must(avis, *issue, "--subject", name, "--data", data)).strip()
            for name in names}
