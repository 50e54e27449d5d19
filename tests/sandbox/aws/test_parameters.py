"""Systems Manager's parameters, as the lock of a run uses them: only one of two calls creates one."""

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator

NAME = "/iot-deployment/iot-receiver/run-lock"


def code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def test_a_parameter_is_created_once(aws: Emulator) -> None:
    ssm = aws.client("ssm")
    tags = [{"Key": "Deployment", "Value": "iot-receiver"}]
    ssm.put_parameter(Name=NAME, Type="String", Value="first", Overwrite=False, Tags=tags)
    with pytest.raises(ClientError) as refused:
        ssm.put_parameter(Name=NAME, Type="String", Value="second", Overwrite=False, Tags=tags)
    assert code(refused.value) == "ParameterAlreadyExists"
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Value"] == "first"
    ssm.delete_parameter(Name=NAME)
    for call in (ssm.get_parameter, ssm.delete_parameter):
        with pytest.raises(ClientError) as missing:
            call(Name=NAME)
        assert code(missing.value) == "ParameterNotFound"
