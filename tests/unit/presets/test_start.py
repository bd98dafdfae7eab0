import subprocess
import sys

from trifold.presets.pretrained import Transformer

SCRIPT = """
import sys
from trifold.presets.pretrained import Transformer
Transformer.from_pretrained(sys.argv[1])
assert "torch._dynamo" not in sys.modules
"""


def test_loading_a_model_does_not_load_the_compiler(tmp_path):
    Transformer.from_preset("gpt2", size="tiny", vocab_size=50).save_pretrained(tmp_path)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
