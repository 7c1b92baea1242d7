"""How a bank may name a payment in its answer."""

from __future__ import annotations

from pathlib import Path

from nostro.database import Database
from settlement import poll
from tests.settlement_world import PayeeRow, make_world, pain002


def test_a_payment_is_known_by_any_of_its_names(db: Database, tmp_path: Path) -> None:
    """A reference that was cut off on the way, UETRs in capitals, only our instruction id."""
    world = make_world(db, tmp_path, [PayeeRow(code=code) for code in "ABC"], accounts=("eur",))
    for payee in "ABC":
        world.owe(payee, 500)
    world.pay()
    ids = {
        str(row[0]): row[1:] for row in world.rows("SELECT payee_code, end_to_end_id, uetr FROM settlement.instruction")
    }
    told = (
        f"<OrgnlEndToEndId>{str(ids['A'][0])[:20]}</OrgnlEndToEndId><TxSts>ACSC</TxSts>"
        f"<OrgnlUETR>{str(ids['A'][1]).upper()}</OrgnlUETR>",
        f"<OrgnlInstrId>{ids['B'][0]}</OrgnlInstrId><OrgnlEndToEndId>NOTPROVIDED</OrgnlEndToEndId><TxSts>ACSC</TxSts>",
        f"<OrgnlEndToEndId>NOTPROVIDED</OrgnlEndToEndId><TxSts>ACWC</TxSts><OrgnlUETR>{ids['C'][1]}</OrgnlUETR>",
    )
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    listed = "".join(f"<TxInfAndSts>{one}</TxInfAndSts>" for one in told)
    report = pain002(msg_id, batches=[(msg_id, "PART", "")]).replace("</PmtInfSts>", f"</PmtInfSts>{listed}")
    world.answer("r.xml", report)
    (heard,) = poll(world.app, home=world.home).messages
    assert heard.findings == ()
    states = world.rows("SELECT payee_code, state FROM settlement.instruction_current ORDER BY 1")
    assert states == [("A", "executed"), ("B", "executed"), ("C", "accepted")]
    assert world.rows("SELECT code FROM settlement.answer_note WHERE instruction_id IS NOT NULL") == [("ACWC",)]
    world.close()
