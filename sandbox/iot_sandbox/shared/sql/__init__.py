"""Rule SQL: statements of rules and templates of their actions, compiled once."""

from iot_sandbox.shared.sql.compiler import OLD_VERSION
from iot_sandbox.shared.sql.evaluation import Context, EvaluationError, SecretRequest, SqlError
from iot_sandbox.shared.sql.statement import Statement, compile_expression, compile_statement

__all__ = [
    "OLD_VERSION",
    "Context",
    "EvaluationError",
    "SecretRequest",
    "SqlError",
    "Statement",
    "compile_expression",
    "compile_statement",
]
