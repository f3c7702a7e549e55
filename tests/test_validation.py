import pytest

from mtlearn._validation import check_known, check_output_names, naming, suggest


class NeedsTwoArguments(ValueError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def test_a_near_miss_gets_a_suggestion_and_a_far_one_none():
    assert suggest("prise", ["kind", "price"]) == " (did you mean 'price'?)"
    assert suggest("zzz", ["kind", "price"]) == ""
    assert suggest(7, ["kind"]) == ""


def test_known_names_pass():
    check_known(["a"], ["a", "b"], subject="Net")
    check_known([], [], subject="Net")


def test_an_unknown_name_is_listed_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"^Net: `x` names the unknown part 'prise'; the parts are"
    ) as e:
        check_known(["kind", "prise"], ["price", "kind"], subject="Net: `x`", noun="part")
    assert str(e.value).endswith("are ['kind', 'price'] (did you mean 'price'?).")


def test_ordinary_output_names_pass():
    check_output_names(["a", "a_b", "_a", "b_", "values", "1", "a b"], subject="Net")


@pytest.mark.parametrize("name", [1, None, ("a", "b")])
def test_an_output_name_must_be_a_string(name):
    with pytest.raises(TypeError, match=r"Net: output names must be strings\. Got .* rename it"):
        check_output_names([name], subject="Net")


@pytest.mark.parametrize("name", ["", "val", "a__b", "__", "a__"])
def test_an_output_name_must_serve_in_nested_names(name):
    with pytest.raises(ValueError, match="Net: an output name must not be empty, be 'val' or"):
        check_output_names(["good", name], subject="Net")


def test_two_names_must_not_share_columns_of_the_history():
    with pytest.raises(ValueError, match="'price' and 'val_price' would share columns"):
        check_output_names(["val_price", "price"], subject="Net")
    check_output_names(["val_price", "kind"], subject="Net")


@pytest.mark.parametrize("error", [TypeError, ValueError, UnicodeError])
def test_naming_puts_the_subject_first_and_keeps_the_type(error):
    with pytest.raises(error, match=r"^Net: output 'a': bad$") as caught, naming("Net: output 'a'"):
        raise error("bad")
    assert type(caught.value) is error
    assert isinstance(caught.value.__cause__, error)


def test_naming_turns_an_error_that_takes_more_arguments_into_a_value_error():
    with pytest.raises(ValueError, match=r"^Net: bad$") as caught, naming("Net"):
        raise NeedsTwoArguments("bad", 3)
    assert isinstance(caught.value.__cause__, NeedsTwoArguments)


def test_naming_leaves_other_errors_alone():
    with pytest.raises(KeyError, match=r"^'bad'$"), naming("Net"):
        raise KeyError("bad")
