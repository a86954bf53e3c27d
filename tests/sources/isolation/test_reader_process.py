"""A reading process may crash, hang, swell or talk: the one that asked gets an error, and goes on."""

import pytest

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.isolation.limits import Limits
from lmd.sources.isolation.reader_process import ReaderProcess, ask

MODULE = "tests.sources.isolation.misbehaving"


@pytest.fixture(scope="module")
def reader():
    with ReaderProcess(MODULE, Limits(seconds=1.0, memory=200 << 20)) as process:
        yield process


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "ü"]}, [], "", 7])
def test_values_come_back_as_they_are(reader, value):
    assert reader.ask("echo", about="f", value=value) == value


def test_bytes_come_back_up_to_what_was_declared(reader):
    assert reader.ask("raw", about="f", most_bytes=1000, count=1000) == b"x" * 1000
    with pytest.raises(UnreadableModelError, match="1001 bytes where 1000"):
        reader.ask("raw", about="f", most_bytes=1000, count=1001)


@pytest.mark.parametrize(
    ("function", "words"),
    [("crash", "signal 11"), ("leave", "exit code 0"), ("hang", "more than 1 s"), ("stumble", "KeyError: 'shape'")],
)
def test_whatever_happens_there_is_an_error_here_and_the_next_question_is_answered(reader, function, words):
    with pytest.raises(UnreadableModelError, match=words) as caught:
        reader.ask(function, about="model.h5")
    assert "model.h5" in str(caught.value)
    assert reader.ask("echo", about="f", value=1) == 1


def test_an_answer_that_has_much_to_go_through_may_take_longer():
    with ReaderProcess(MODULE, Limits(seconds=0.2, pace=1)) as reader:
        assert reader.ask("linger", about="f", work=30, seconds=0.4) == 0.4
        with pytest.raises(UnreadableModelError, match=r"more than 0\.2 s"):
            reader.ask("linger", about="f", seconds=0.4)


def test_a_late_start_is_no_fault_of_the_file():
    with ReaderProcess("tests.sources.isolation.late", Limits(seconds=1.0)) as reader:
        assert reader.ask("echo", about="f", value=1) == 1


def test_a_refusal_names_the_file(reader):
    with pytest.raises(UnreadableModelError, match=r"^m\.h5: f.h5 is refused"):
        reader.ask("refuse", about="m.h5", unsafe=False)


def test_memory_is_bounded(reader):
    assert reader.ask("swallow", about="f", count=50 << 20) == 50 << 20
    with pytest.raises(UnreadableModelError, match="MemoryError"):
        reader.ask("swallow", about="f", count=400 << 20)


def test_what_libraries_print_is_no_answer(reader):
    assert reader.ask("noise", about="f") == 1


def test_refusals_keep_their_kind_and_words(reader):
    with pytest.raises(UnsafeModelError, match=r"^f.h5 is refused: so it is\.$"):
        reader.ask("refuse", about="f", unsafe=True)
    with pytest.raises(UnreadableModelError, match=r"^f.h5 is refused: so it is\.$"):
        reader.ask("refuse", about="f", unsafe=False)


def test_an_answer_that_is_too_long_is_refused():
    with pytest.raises(UnreadableModelError):
        ask(MODULE, "echo", about="f", limits=Limits(answer=1000), value="x" * 2000)


def test_no_torch_is_loaded_there(reader):
    assert reader.ask("loaded", about="f", name="torch") is False
