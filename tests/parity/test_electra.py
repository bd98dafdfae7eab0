"""ELECTRA's discriminator is a body whose head is kept; the matrix after the embedding depends on its width."""

from pathlib import Path

import pytest
import torch
import transformers

from tests.parity.families import BERT_LIKE, VOCAB
from trifold.errors import ModelFileError
from trifold.presets.pretrained import Transformer

TOKENS = torch.randint(3, VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))


def test_a_discriminator_opens_as_a_body_and_its_head_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.ElectraForPreTraining(transformers.ElectraConfig(**BERT_LIKE, embedding_size=20)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = Transformer.from_pretrained(tmp_path / "theirs")
    wanted = theirs.electra(TOKENS).last_hidden_state
    torch.testing.assert_close(ours.encode(TOKENS), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelFileError, match="no language-model head"):
        ours.head(wanted)

    ours.save_pretrained(tmp_path / "ours")
    again, report = transformers.ElectraForPreTraining.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {name: list(found) for name, found in report.items() if found} == {}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in theirs.state_dict().items())


def test_an_embedding_as_wide_as_the_model_has_no_matrix_after_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.ElectraForMaskedLM(transformers.ElectraConfig(**BERT_LIKE, embedding_size=32)).eval()
    theirs.save_pretrained(tmp_path)
    ours = Transformer.from_pretrained(tmp_path)
    assert not any("project" in name for name, _ in ours.named_parameters())
    torch.testing.assert_close(ours.head(ours.encode(TOKENS)), theirs(TOKENS).logits, rtol=1e-5, atol=1e-5)
