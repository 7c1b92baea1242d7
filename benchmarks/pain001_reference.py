"""The reference of the pain.001 benchmark: the file as a user of pyiso20022 and xsdata writes it.

Lives here: our payments as pyiso20022 objects, built directly, rendered by xsdata with its faster writer.
Must not live here: anything of the product's own writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import pyiso20022.pain.pain_001_001_09 as iso
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.formats.dataclass.serializers.writers import XmlEventWriter
from xsdata.models.datatype import XmlDate, XmlDateTime

from ledger.money import currency
from settlement.iso20022 import CreditTransfer, PaymentFile, PaymentGroup, PostalAddress, Totals


def render_reference(file: PaymentFile, transfers: Iterable[CreditTransfer], *, native: bool = True) -> bytes:
    """The whole file (UTF-8, declared): objects built, then rendered by xsdata's native writer or its usual one."""
    payments = list(transfers)
    document = _document_09(file, Totals.of(payments), payments)
    namespaces = {None: file.message_version.namespace}
    serializer = XmlSerializer(writer=XmlEventWriter) if native else XmlSerializer()
    text: str = serializer.render(document, ns_map=namespaces)
    return text.encode()


def _document_09(file: PaymentFile, totals: Totals, transfers: Sequence[CreditTransfer]) -> iso.Document:
    header = iso.GroupHeader85(
        msg_id=file.msg_id,
        cre_dt_tm=XmlDateTime.from_datetime(file.created_at),
        nb_of_txs=str(totals.count),
        ctrl_sum=_decimal(totals.total_minor, file.groups[0].currency),
        initg_pty=_initiating_party(file),
    )
    group = _group(file.groups[0], totals, transfers)
    return iso.Document(cstmr_cdt_trf_initn=iso.CustomerCreditTransferInitiationV09(grp_hdr=header, pmt_inf=[group]))


def _initiating_party(file: PaymentFile) -> iso.PartyIdentification135:
    party = iso.PartyIdentification135(nm=file.initiating_party_name)
    if file.initiating_party_id is not None:
        organisation = iso.OrganisationIdentification29(
            othr=[iso.GenericOrganisationIdentification1(id=file.initiating_party_id)]
        )
        party.id = iso.Party38Choice(org_id=organisation)
    return party


def _group(group: PaymentGroup, totals: Totals, transfers: Sequence[CreditTransfer]) -> iso.PaymentInstruction30:
    return iso.PaymentInstruction30(
        pmt_inf_id=group.payment_information_id,
        pmt_mtd=iso.PaymentMethod3Code.TRF,
        btch_bookg=group.batch_booking,
        nb_of_txs=str(totals.count),
        ctrl_sum=_decimal(totals.total_minor, group.currency),
        pmt_tp_inf=_payment_type(group),
        reqd_exctn_dt=iso.DateAndDateTime2Choice(dt=XmlDate.from_date(group.execution_date)),
        dbtr=iso.PartyIdentification135(nm=group.debtor_name, pstl_adr=_address(group.debtor_address)),
        dbtr_acct=iso.CashAccount38(id=iso.AccountIdentification4Choice(iban=group.debtor_iban), ccy=group.currency),
        dbtr_agt=_agent(group.debtor_bic or ""),
        chrg_br=iso.ChargeBearerType1Code(group.charge_bearer.value),
        cdt_trf_tx_inf=[_payment(transfer) for transfer in transfers],
    )


def _payment_type(group: PaymentGroup) -> iso.PaymentTypeInformation26 | None:
    if group.service_level is None and group.category_purpose is None:
        return None
    return iso.PaymentTypeInformation26(
        svc_lvl=[iso.ServiceLevel8Choice(cd=group.service_level)] if group.service_level else [],
        ctgy_purp=iso.CategoryPurpose1Choice(cd=group.category_purpose) if group.category_purpose else None,
    )


def _payment(transfer: CreditTransfer) -> iso.CreditTransferTransaction34:
    amount = iso.ActiveOrHistoricCurrencyAndAmount(
        value=_decimal(transfer.amount_minor, transfer.currency), ccy=transfer.currency
    )
    remittance = transfer.remittance_unstructured
    return iso.CreditTransferTransaction34(
        pmt_id=iso.PaymentIdentification6(
            instr_id=transfer.instruction_id, end_to_end_id=transfer.end_to_end_id, uetr=transfer.uetr
        ),
        amt=iso.AmountType4Choice(instd_amt=amount),
        cdtr_agt=None if transfer.creditor_bic is None else _agent(transfer.creditor_bic),
        cdtr=iso.PartyIdentification135(nm=transfer.creditor_name, pstl_adr=_address(transfer.creditor_address)),
        cdtr_acct=iso.CashAccount38(id=iso.AccountIdentification4Choice(iban=transfer.creditor_iban)),
        rmt_inf=None if remittance is None else iso.RemittanceInformation16(ustrd=[remittance]),
    )


def _agent(bic: str) -> iso.BranchAndFinancialInstitutionIdentification6:
    return iso.BranchAndFinancialInstitutionIdentification6(
        fin_instn_id=iso.FinancialInstitutionIdentification18(bicfi=bic)
    )


def _address(address: PostalAddress | None) -> iso.PostalAddress24 | None:
    if address is None:
        return None
    return iso.PostalAddress24(
        strt_nm=address.street,
        pst_cd=address.postcode,
        twn_nm=address.town,
        ctry=address.country,
        adr_line=[line for line in (address.line_1, address.line_2) if line is not None],
    )


def _decimal(amount_minor: int, code: str) -> Decimal:
    """The amount with exactly the currency's decimals; xsdata keeps the scale."""
    return Decimal(amount_minor).scaleb(-currency(code).exponent)
