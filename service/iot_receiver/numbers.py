"""Numbers as DynamoDB holds them: exact decimals within its limits, each value in one canonical form."""

from decimal import (
    Context,
    Decimal,
    DecimalException,
    Inexact,
    InvalidOperation,
    Overflow,
    Subnormal,
    Underflow,
)

# 38 significant digits between 1E-130 and 9.99...E+125 (Amazon DynamoDB developer guide, "Number").
# A trapped signal means that DynamoDB could not hold the value exactly.
DYNAMODB_NUMBER = Context(
    prec=38, Emin=-130, Emax=125, traps=[Inexact, Overflow, Underflow, Subnormal, InvalidOperation]
)


def exact(text: str) -> Decimal:
    """Read a JSON number exactly.

    Raises:
        ValueError: when DynamoDB can't hold it.
    """
    try:
        return DYNAMODB_NUMBER.create_decimal(text)
    except DecimalException:
        raise ValueError("is beyond 38 digits or the range 1E-130 to 9.9E+125") from None


def canonical(text: str) -> str:
    """Write a JSON number in the one form that equal values share: 21, 21.0 and 2.1e1 are all "21".

    Raises:
        ValueError: when DynamoDB can't hold it.
    """
    value = exact(text).normalize(DYNAMODB_NUMBER)
    if not value:
        return "0"
    return format(value, "f") if value.adjusted() < 38 else str(value)
