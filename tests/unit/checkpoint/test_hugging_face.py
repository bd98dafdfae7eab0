"""Model folders of others: what is there is read, and what is no model is named."""

import pytest

from trifold.checkpoint.hugging_face import find_folder, read_config
from trifold.errors import ModelFileError


@pytest.mark.parametrize("name", ["nowhere", "./some/model", "/some/model", "a/b/c", "some\nwhere"])
def test_a_name_that_is_neither_a_folder_nor_one_of_the_hub_is_refused(name):
    with pytest.raises(ModelFileError, match="holds no model"):
        find_folder(name)


@pytest.mark.parametrize(("text", "said"), [("[]", "no mapping"), ("{", "Expecting"), ("[" * 100_000, "recursion")])
def test_a_configuration_that_is_no_mapping_is_named(tmp_path, text, said):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match=rf"config\.json.*{said}"):
        read_config(tmp_path)


def test_a_folder_without_a_configuration_holds_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="holds no model"):
        read_config(tmp_path)
