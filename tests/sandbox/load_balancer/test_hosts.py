"""Only our block of /etc/hosts is ever touched."""

from pathlib import Path

from iot_sandbox.load_balancer import hosts

BEFORE = "127.0.0.1 localhost\n# BEGIN other\n10.0.0.1 x\n# END other\n"


def test_names_come_and_go(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(BEFORE)
    file.chmod(0o644)
    assert hosts.update(file, "10.213.0.1", ["b.test", "a.test", "a.test"])
    assert file.read_text() == f"{BEFORE}{hosts.BEGIN}\n10.213.0.1 a.test\n10.213.0.1 b.test\n{hosts.END}\n"
    assert file.stat().st_mode & 0o777 == 0o644
    inode = file.stat().st_ino
    assert not hosts.update(file, "10.213.0.1", ["a.test", "b.test"])
    assert file.stat().st_ino == inode
    assert hosts.update(file, "10.213.0.1", ["c.test"])
    assert file.read_text().count("10.213.0.1") == 1
    assert hosts.update(file, "10.213.0.1", [])
    assert file.read_text() == BEFORE


def test_a_file_without_a_last_line_end() -> None:
    assert hosts.with_names("127.0.0.1 a", "10.213.0.1", ["b"]).startswith("127.0.0.1 a\n# BEGIN")


def test_no_name_no_block() -> None:
    assert hosts.with_names(BEFORE, "10.213.0.1", []) == BEFORE
