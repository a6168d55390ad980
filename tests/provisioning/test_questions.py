"""The questions at the cabinet: an answer that cannot be is asked for again at once, not refused at the end."""

import typer
from typer.testing import CliRunner

from provisioning.questions import ask
from provisioning.site_file import Wishes, compose

ANSWERS = (
    *("S 7", "S-7", "Works", "rs485", "/dev/ttyUSB0", "9600-8X1", "9600-8N1", "n"),
    *("", "acrel-adl400", "3", "boss", "purchased", "400/0", "400/5", "", "n"),
)


def test_an_answer_that_does_not_fit_is_asked_for_again() -> None:
    found: list[Wishes] = []
    app = typer.Typer()

    @app.command()
    def go() -> None:
        found.append(ask(Wishes("", "", "Asia/Shanghai", "", "zh", "", (), ()), "en"))

    done = CliRunner().invoke(app, input="\n".join(ANSWERS) + "\n")
    assert done.exit_code == 0, done.output
    for wrong in ("S 7", "rs485", "9600-8X1", "boss", "400/0"):
        assert f"“{wrong}” does not fit" in done.output
    source = compose(found[0], 1_795_000_000_000).decode()
    assert 'id = "S-7"' in source and 'ct = "400/5"' in source and 'mode = "9600-8N1"' in source


def test_a_port_for_data_loggers_can_be_asked_for() -> None:
    found: list[Wishes] = []
    app = typer.Typer()

    @app.command()
    def go() -> None:
        found.append(ask(Wishes("S-7", "Works", "Asia/Shanghai", "", "zh", "", (), ()), "en"))

    answers = ("lauschen=0.0.0.0:9001", "listen=0.0.0.0:9001", "n")
    logger = ("S-01", "hj212-cems", "88888880000001", "flue-gas", "", "", "n")
    done = CliRunner().invoke(app, input="\n".join(answers + logger) + "\n")
    assert done.exit_code == 0, done.output
    assert "“lauschen=0.0.0.0:9001” does not fit" in done.output
    assert 'listen = "0.0.0.0:9001"' in compose(found[0], 1_795_000_000_000).decode()
