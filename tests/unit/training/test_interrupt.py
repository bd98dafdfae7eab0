import os
import signal
import subprocess
import sys
import threading

import pytest

from trifold.errors import PreemptedError
from trifold.training.interrupt import stoppable

TWICE = """
import os, signal, sys
from trifold.training.interrupt import stoppable
with stoppable() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    print(stop.signal.name, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""


def test_the_second_signal_ends_the_process_as_if_nobody_listened():
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "SIGTERM\n")


def test_while_nothing_is_half_done_a_signal_stops_the_run_where_it_is():
    with stoppable() as stop, pytest.raises(PreemptedError, match="SIGHUP"), stop.at_once(7):
        os.kill(os.getpid(), signal.SIGHUP)
        pytest.fail("it went on")


def test_a_signal_that_came_before_is_heeded_at_once():
    with stoppable() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(PreemptedError, match="SIGHUP"), stop.at_once(7):
            pytest.fail("it began")


def test_a_signal_to_another_process_of_the_run_is_heard():
    with stoppable() as stop:
        assert not stop.hear(0)
        assert stop.hear(signal.SIGTERM)
        assert "SIGTERM" in str(stop.error(3))


def test_outside_the_main_thread_nobody_listens_and_the_handlers_stay():
    before, found = signal.getsignal(signal.SIGTERM), []

    def work():
        with stoppable() as stop:
            found.append((stop.asked, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]
