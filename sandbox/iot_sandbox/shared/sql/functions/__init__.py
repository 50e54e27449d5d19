"""Functions of rule SQL: https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-functions.html"""

from iot_sandbox.shared.sql.functions import conversions, messages, numbers, strings, times
from iot_sandbox.shared.sql.functions.conversions import CASTS
from iot_sandbox.shared.sql.functions.registry import FUNCTIONS, NOT_EMULATED

__all__ = ["CASTS", "FUNCTIONS", "NOT_EMULATED", "conversions", "messages", "numbers", "strings", "times"]
