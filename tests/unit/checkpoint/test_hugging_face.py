"""Model folders of others: what is there is read, and what is no model is named."""

import pytest
import torch

from trifold.checkpoint.hugging_face import (
    find_folder,
    read_config,
    read_extra,
    read_weights,
    stored_dtype,
    write_config,
    write_weights,
)
from trifold.errors import ModelFileError


@pytest.mark.parametrize("name", ["nowhere", "./some/model", "/some/model", "a/b/c", "some\nwhere"])
def test_a_name_that_is_neither_a_folder_nor_one_of_the_hub_is_refused(name):
    with pytest.raises(ModelFileError, match="There is no folder"):
        find_folder(name)


@pytest.mark.parametrize(("text", "said"), [("[]", "no mapping"), ("{", "Expecting"), ("[" * 100_000, "recursion")])
def test_a_configuration_that_is_no_mapping_is_named(tmp_path, text, said):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match=rf"config\.json.*{said}"):
        read_config(tmp_path)


def test_a_folder_without_a_configuration_holds_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="holds no model"):
        read_config(tmp_path)


@pytest.mark.parametrize("read", [read_weights, stored_dtype])
@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ("{}", "weight_map"),
        ('{"weight_map": ["a"]}', "no attribute 'values'"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_an_index_of_weights_that_cannot_be_read_is_named(tmp_path, read, index, said):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(index if isinstance(index, bytes) else index.encode())
    with pytest.raises(ModelFileError) as caught:
        read(tmp_path)
    assert (caught.value.code, caught.value.values["path"]) == ("checkpoint.bad_file", path)
    assert said in caught.value.values["problem"]


@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_the_type_of_weights_of_which_some_cannot_be_read_is_not_guessed(tmp_path, damage):
    weights = {"a": torch.zeros(2, dtype=torch.float16), "b": torch.zeros(2, dtype=torch.bfloat16)}
    write_weights(tmp_path, weights, shard_bytes=1)
    assert stored_dtype(tmp_path) == torch.float32  # the least that holds both
    *_, last = sorted(tmp_path.glob("*.safetensors"))
    if damage == "missing":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:20])
    with pytest.raises(ModelFileError) as caught:
        stored_dtype(tmp_path)
    assert (caught.value.code, caught.value.values["path"]) == ("checkpoint.bad_file", last)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.json", read_config),
        ("extra.safetensors", read_extra),
        ("model.safetensors", read_weights),
        ("model.safetensors", stored_dtype),
        ("model.safetensors.index.json", read_weights),
    ],
)
@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_plain_file_of_the_folder_is_not_read(tmp_path, name, read, kind):
    folder, other = tmp_path / "model", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    write_config(other, {"weight_map": {}}, name)
    (folder / name).mkdir() if kind == "folder" else (folder / name).symlink_to(other / name)
    with pytest.raises(ModelFileError) as caught:
        read(folder)
    assert caught.value.code == "checkpoint.outside" and caught.value.values == {"path": folder, "given": name}
