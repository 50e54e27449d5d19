"""Targets move into and out of the running servers without a new configuration."""

from iot_sandbox.load_balancer.slots import Slot, parse, plan

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)


def slot(number: int, target: tuple[str, int] = ("127.0.0.1", 1), state: str = "maint") -> Slot:
    return Slot("tg", f"s{number}", *target, state)


def test_parse_reads_address_and_state() -> None:
    text = (
        "1\n"
        "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
        "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
        "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl "
        "srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n"
        "4 tg 1 s1 10.0.0.1 2 0 1 1 65 1 0 2 0 0 0 0 - 80 - 0 0 - - 0\n"
        "4 tg 2 s2 10.0.0.2 2 8 1 1 65 1 0 2 0 0 0 0 - 80 - 0 0 - - 0\n"
        "4 tg 3 s3 127.0.0.1 0 5 1 1 65 1 0 0 0 0 0 0 - 1 - 0 0 - - 0\n"
        "4 tg 4 s4 10.0.0.3 2 4 1 1 65 1 0 2 0 0 0 0 - 80 - 0 0 - - 0\n"  # enabled at run time
        "4 tg 5 nobody - 2 0 1 1 65 1 0 2 0 0 0 0 - 0 - 0 0 - - 0\n"
    )
    assert parse(text) == {"tg": [slot(1, A, "ready"), slot(2, B, "drain"), slot(3), slot(4, C, "ready")]}


def test_what_agrees_is_left_alone() -> None:
    assert plan([slot(1, A, "ready"), slot(2)], {A: "ready"}, {}, 0, 30).commands == ()


def test_an_arriving_target_takes_a_free_slot() -> None:
    made = plan([slot(1, A, "ready"), slot(2)], {A: "ready", B: "ready"}, {}, 0, 30)
    assert made.commands == ("set server tg/s2 addr 10.0.0.2 port 80", "set server tg/s2 state ready")


def test_a_target_that_is_not_ready_gets_no_slot() -> None:
    assert plan([slot(1)], {A: "drain"}, {}, 0, 30).commands == ()


def test_an_unhealthy_target_drains_without_a_limit() -> None:
    made = plan([slot(1, A, "ready")], {A: "drain"}, {}, 0, 30)
    assert made.commands == ("set server tg/s1 state drain",)
    assert plan([slot(1, A, "drain")], {A: "drain"}, made.until, 1000, 30).commands == ()


def test_a_deregistered_target_drains_for_its_delay_and_is_then_cut() -> None:
    first = plan([slot(1, A, "ready")], {}, {}, 100, 30)
    assert first.commands == ("set server tg/s1 state drain",)
    waiting = plan([slot(1, A, "drain")], {}, first.until, 129, 30)
    assert waiting.commands == ()
    over = plan([slot(1, A, "drain")], {}, waiting.until, 130, 30)
    assert over.commands == ("shutdown sessions server tg/s1", "set server tg/s1 state maint")
    assert not over.until


def test_a_target_that_comes_back_is_ready_at_once() -> None:
    leaving = plan([slot(1, A, "ready")], {}, {}, 0, 30)
    back = plan([slot(1, A, "drain")], {A: "ready"}, leaving.until, 5, 30)
    assert back.commands == ("set server tg/s1 state ready",)
    assert not back.until


def test_no_room_is_said() -> None:
    made = plan([slot(1, A, "drain")], {B: "ready", C: "ready"}, {A: 50}, 0, 30)
    assert made.full
    assert made.commands == ()


def test_a_target_that_sits_twice_is_seated_once() -> None:
    made = plan([slot(1, A, "ready"), slot(2, A, "ready")], {A: "ready"}, {}, 0, 30)
    assert made.commands == ("set server tg/s2 state drain",)
