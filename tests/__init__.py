from tests import shape_checker as shape_checker  # so that the doctests of one module run alone, too
