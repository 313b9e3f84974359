"""Variants: grids against a naive model, the order of resolution, what is shared and what is not."""

import collections
import itertools
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.tune.error import DependencyNotReadyError, RecursiveDependencyError
from aktis.tune.search import sample as space
from aktis.tune.search.variant_generator import (
    Variant,
    apply_point,
    count_spec_samples,
    count_variants,
    flatten_resolved_vars,
    format_vars,
    generate_variants,
    get_preset_variants,
    has_unresolved_values,
    parse_spec_vars,
)


def specs(spec, **options):
    return [variant for _, variant in generate_variants(spec, random_state=0, **options)]


# -- a naive model of grids: expand one after the other, the first path fastest ---------------------------


def expansions(node):
    """All that a space of dicts, lists, constants and (nested) grids stands for."""
    if isinstance(node, dict) and set(node) == {"grid_search"}:
        return [variant for value in node["grid_search"] for variant in expansions(value)]
    if isinstance(node, (dict, list)):
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        found = []
        for values in itertools.product(*[expansions(node[key]) for key in reversed(keys)]):
            chosen = dict(zip(reversed(keys), values))
            found.append(
                {key: chosen[key] for key in node} if isinstance(node, dict) else [chosen[key] for key in keys]
            )
        return found
    return [node]


nodes = st.recursive(
    st.integers(0, 9),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        st.lists(inner, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(space.grid_search),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abcd"), nodes, max_size=3))
@settings(max_examples=300)
def test_grids_are_gone_through_as_in_the_naive_model(spec):
    assert specs(spec) == expansions(spec)
    assert count_variants({"config": spec, "num_samples": 3}) == 3 * len(expansions(spec))


def test_the_first_path_changes_fastest_and_indices_are_numbers():
    spec = {"x": [space.grid_search([index, -index]) if index in (2, 10) else 0 for index in range(11)]}
    assert [(variant["x"][2], variant["x"][10]) for variant in specs(spec)] == [(2, 10), (-2, 10), (2, -10), (-2, -10)]


def test_a_huge_grid_costs_nothing_until_it_is_asked():
    spec = {name: space.grid_search(range(1000)) for name in "abcdef"}
    assert count_variants({"config": spec}) == 1000**6
    variants = generate_variants(spec)
    assert next(variants)[1] == dict.fromkeys("abcdef", 0)
    assert next(variants)[1] == {**dict.fromkeys("abcdef", 0), "a": 1}


# -- variables -----------------------------------------------------------------------------------------


def test_variables_are_drawn_in_the_order_in_which_they_are_written():
    import numpy as np

    numbers = np.random.default_rng(0).uniform(0, 1, 5)
    (variant,) = specs(
        {
            "b": space.uniform(0, 1),
            "m": space.choice([{"lr": space.uniform(0, 1)}]),
            "a": [space.uniform(0, 1)],
        }
    )
    state = np.random.default_rng(0)
    first, _, third, inner = state.uniform(), state.integers(0, 1), state.uniform(), state.uniform()
    assert variant == {"b": first, "m": {"lr": inner}, "a": [third]}
    assert first == numbers[0]


def test_variables_inside_of_values_are_drawn_as_one_reads_them():
    import numpy as np

    inner = space.grid_search([{"u": space.uniform(0, 1)}])
    (variant,) = specs({"z": inner, "c": space.choice([{"u": space.uniform(0, 1)}]), "a": inner})
    state = np.random.default_rng(0)
    state.integers(0, 1)
    assert [variant[name]["u"] for name in "zca"] == list(state.uniform(size=3))


def test_variables_are_drawn_anew_in_each_cell_unless_they_are_to_be_constant():
    spec = {
        "g": space.grid_search([1, 2, 3]),
        "u": space.uniform(0, 1),
        "m": space.choice([{"v": space.uniform(0, 1)}]),
    }
    assert len({variant["u"] for variant in specs(spec)}) == 3
    constant = specs(spec, constant_grid_search=True)
    assert [variant["g"] for variant in constant] == [1, 2, 3]
    assert len({variant["u"] for variant in constant}) == len({variant["m"]["v"] for variant in constant}) == 1


def test_with_constants_functions_of_grids_still_follow_the_grid():
    spec = {
        "s": space.sample_from(lambda spec: (spec.g, spec.u)),
        "g": space.grid_search([1, 2]),
        "u": space.uniform(0, 1),
    }
    first, second = generate_variants(spec, constant_grid_search=True, random_state=0)
    assert first[1]["s"] == (1, first[1]["u"]) and second[1]["s"] == (2, first[1]["u"])
    assert first[0] == {("g",): 1, ("u",): first[1]["u"], ("s",): (1, first[1]["u"])}


@given(st.permutations(range(6)))
def test_functions_are_called_when_what_they_read_is_known(order):
    space_of = {
        f"v{index}": space.sample_from(lambda spec, index=index: spec.config[f"v{index + 1}"] + 1) for index in order
    }
    (variant,) = specs({"config": {**space_of, "v6": space.choice([100])}})
    assert variant["config"] == {f"v{index}": 106 - index for index in range(7)}


def test_a_chain_may_have_as_many_links_as_there_are_passes():
    def chain(length):
        links = {
            f"v{index:02}": space.sample_from(lambda spec, index=index: spec[f"v{index + 1:02}"])
            for index in range(length)
        }
        return {**links, f"v{length:02}": space.choice([1])}

    assert set(specs(chain(19))[0].values()) == {1}
    with pytest.raises(RecursiveDependencyError, match="20 steps"):
        specs(chain(21))


@pytest.mark.parametrize(
    "spec",
    [
        {"a": space.sample_from(lambda spec: spec.b), "b": space.sample_from(lambda spec: spec.a)},
        {"a": space.sample_from(lambda spec: spec.a)},
        {"a": space.sample_from(lambda spec: space.sample_from(lambda: DEEP))},
    ],
    ids=["circle", "itself", "endless"],
)
def test_variables_that_wait_for_each_other_are_named(spec):
    with pytest.raises(RecursiveDependencyError, match="a = sample_from"):
        specs(spec)


DEEP = space.sample_from(lambda: DEEP)


def test_an_error_in_a_function_says_which_one_and_keeps_its_cause():
    with pytest.raises(ValueError, match=r"sample_from\(<lambda>\) of lr failed: ZeroDivisionError") as info:
        specs({"config": {"lr": space.sample_from(lambda: 1 / 0)}})
    assert isinstance(info.value.__cause__, ZeroDivisionError)
    with pytest.raises(ValueError, match="has no 'depht' here: did you mean 'depth'"):
        specs({"depth": 3, "a": space.sample_from(lambda spec: spec.depht)})


def test_values_that_hold_spaces_are_resolved_down_to_the_end():
    spec = {
        "net": space.grid_search(
            [
                {"kind": "cnn", "layers": space.grid_search([2, 4]), "lr": space.uniform(0, 1)},
                {"kind": "mlp", "opt": space.choice([{"name": "sgd", "momentum": space.uniform(5, 6)}])},
                space.uniform(10, 11),
            ]
        ),
        "z": space.sample_from(lambda spec: space.randint(50, 51)),
    }
    variants = list(generate_variants(spec, random_state=1))
    assert not any(has_unresolved_values(variant) for _, variant in variants)
    kinds = [variant["net"].get("layers") if isinstance(variant["net"], dict) else "number" for _, variant in variants]
    assert kinds == [2, 4, None, "number"]
    resolved, variant = variants[2]
    assert resolved[("net",)] == variant["net"] and resolved[("net", "opt", "momentum")] > 5
    assert all(variant["z"] == 50 for _, variant in variants)


def test_a_grid_inside_of_something_drawn_is_refused():
    grid = {"x": space.grid_search([1, 2])}
    for spec in ({"a": space.choice([grid, 5])}, {"a": space.sample_from(lambda: grid)}):
        with pytest.raises(ValueError, match="must not depend on chance"):
            specs(spec)
    assert specs({"a": space.choice([{"x": space.grid_search([1])}])}) == [{"a": {"x": 1}}]


def test_expressions_see_the_specification_and_numpy():
    (variant,) = specs(
        {"a": {"eval": "spec.b * 2"}, "b": {"eval": "np.sqrt(16)"}, "c": {"eval": " random.choice([1]) "}}
    )
    assert variant == {"a": 8.0, "b": 4.0, "c": 1}
    with pytest.raises(ValueError, match="cannot read the expression 'spec.' of a"):
        specs({"a": {"eval": "spec."}})


def test_only_dicts_of_one_key_are_grids_and_expressions():
    spec = {"a": {"grid_search": [1, 2], "other": 3}, "b": {"eval": 5}}
    assert specs(spec) == [spec]
    with pytest.raises(TypeError, match="grid_search of a needs a list"):
        specs({"a": {"grid_search": 3}})


# -- what functions see -------------------------------------------------------------------------------


def test_functions_see_values_by_attribute_and_by_key_and_parts_of_the_space():
    seen = {}

    def look(spec):
        seen.update(
            by_key=spec["config"]["m"]["k"],
            listed=[layer.units for layer in spec.config.layers],
            get=spec.config.get("nothing", 7),
            names=sorted(spec.config.m),
            spread={**spec.config.m},
            pair=spec.config.pair,
        )
        return spec.config.m

    (variant,) = specs(
        {
            "config": {
                "out": space.sample_from(look),
                "m": {"k": space.choice([3])},
                "layers": [{"units": space.choice([8])}, {"units": 9}],
                "pair": (1, 2),
            }
        }
    )
    assert seen == {"by_key": 3, "listed": [8, 9], "get": 7, "names": ["k"], "spread": {"k": 3}, "pair": (1, 2)}
    assert variant["config"]["out"] == {"k": 3} and type(variant["config"]["out"]) is dict


def test_a_part_of_the_space_is_only_given_on_when_it_is_known():
    (variant,) = specs({"all": space.sample_from(lambda spec: {"copy": spec.m}), "m": {"k": [space.choice([1])]}})
    assert variant["all"] == {"copy": {"k": [1]}}


def test_a_function_may_handle_what_is_not_ready():
    def patient(spec):
        try:
            return spec.later
        except DependencyNotReadyError:
            return "early"

    assert specs({"a": space.sample_from(patient), "later": space.choice([1])})[0]["a"] == "early"


# -- what is copied -----------------------------------------------------------------------------------


class Point(typing.NamedTuple):
    x: object
    y: object


def test_variants_share_no_container_with_each_other_or_the_space():
    spec = {"c": {"deep": [1, {"x": []}]}, "g": space.grid_search([[1], [1]]), "u": space.choice([[5]])}
    first, second = specs(spec)
    first["c"]["deep"][1]["x"].append(1)
    first["g"].append(2)
    first["u"].append(3)
    assert second == {"c": {"deep": [1, {"x": []}]}, "g": [1], "u": [5]}
    assert specs(spec)[0] == second


def test_leaves_are_shared_and_kinds_of_containers_are_kept():
    class Data:
        def __deepcopy__(self, memo):
            raise AssertionError("data sets are not to be copied")

    data = Data()
    (variant,) = specs(
        {
            "data": data,
            "ordered": collections.OrderedDict(b=space.choice([1]), a=[data]),
            "tuple": (space.choice([2]), ({"x": space.choice([3])},)),
            "point": Point(space.choice([4]), [5]),
            "plain": (1, 2),
        }
    )
    assert variant["data"] is data and variant["ordered"]["a"] == [data]
    assert (
        variant["ordered"] == collections.OrderedDict(b=1, a=[data])
        and type(variant["ordered"]) is collections.OrderedDict
    )
    assert variant["tuple"] == (2, ({"x": 3},))
    assert variant["point"] == Point(4, [5]) and type(variant["point"]) is Point


def test_a_drawn_tuple_stays_one_when_it_is_constant_over_a_grid():
    spec = {"t": space.choice([(space.uniform(0, 1), 2)]), "g": space.grid_search([(1, [2]), (3, space.uniform(0, 1))])}
    variants = specs(spec, constant_grid_search=True)
    assert variants[0]["t"] == variants[1]["t"] and type(variants[0]["t"]) is tuple
    assert [type(variant["g"]) for variant in variants] == [tuple, tuple]


# -- points, parts and names ---------------------------------------------------------------------------


def test_a_point_fixes_variables_wherever_they_are():
    config = {"a": {"b": space.uniform(0, 1)}, "t": (space.uniform(0, 1), 2), "g": space.grid_search([1, 2]), "c": 3}
    said = []
    fixed = apply_point(config, {"a/b": 7, "t": [0.5, 2], "c": 4, "g": 2}, said.append)
    assert fixed == {"a": {"b": 7}, "t": [0.5, 2], "g": 2, "c": 4}
    assert [text.split(":")[1].split("=")[0].strip() for text in said] == ["a/b", "c"]
    assert apply_point(config, {"t/0": 0.25})["t"] == (0.25, 2)
    assert has_unresolved_values(config) and "b" in config["a"]
    variants = [spec["config"] for _, spec in get_preset_variants({"config": config}, {"a": {"b": 1}, "t/0": 0})]
    assert [variant["g"] for variant in variants] == [1, 2] and {variant["a"]["b"] for variant in variants} == {1}


@pytest.mark.parametrize("point", [{"lrr": 1}, {"a": {"lrr": 1}}, {"a/lrr": 1}, {"lr": 1, "g/0": 3}])
def test_a_point_with_a_name_that_is_not_there_is_refused(point):
    config = {"lr": space.uniform(0, 1), "a": {"lr": 1}, "g": space.grid_search([1])}
    with pytest.raises(ValueError, match="is not in the search space"):
        apply_point(config, point)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), min_size=1),
    st.integers(0, 5),
    st.lists(st.sets(st.sampled_from("abc")), max_size=4),
)
def test_points_take_the_place_of_samples(sizes, samples, fixed):
    config = {name: space.grid_search(range(size)) for name, size in sizes.items()}
    points = [dict.fromkeys(names & set(sizes), 0) for names in fixed]
    expected = 0
    for number in range(max(samples, len(points))):
        cells = 1
        for name, size in sizes.items():
            cells *= 1 if number < len(points) and name in points[number] else size
        expected += cells
    assert count_variants({"config": config, "num_samples": samples}, points) == expected


def test_the_parts_of_a_space_are_told_apart():
    constants, variables, grids = parse_spec_vars(
        {"a": {"b": space.uniform(0, 1)}, "c": [space.grid_search([1, 2]), 3], "d": {}}
    )
    assert constants == [(("c", 1), 3), (("d",), {})]
    assert [(path, repr(domain)) for path, domain in variables] == [(("a", "b"), "uniform(0, 1)")]
    assert [(path, grid.categories) for path, grid in grids] == [(("c", 0), [1, 2])]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456789, "1.2346"),
        (True, "True"),
        ("a/b c", "a_b_c"),
        ({"x": -1}, "x_-1"),
        ([0.5, 2], "0_5_2"),
        ("__a__b_", "a__b"),
    ],
)
def test_names_of_trials_hold_letters_digits_and_underscores(value, text):
    assert format_vars({("config", "lr"): value}) == f"lr={text}"


def test_names_are_sorted_by_path_and_show_its_end():
    variables = {("config", "b", "c"): 1, ("config", "a"): 2, ("config", "l", 10): 3, ("config", "l", 2): 4}
    assert format_vars(variables) == "a=2,c=1,2=4,10=3"
    assert flatten_resolved_vars(variables) == {"a": 2, "b/c": 1, "l/2": 4, "l/10": 3}


def test_samples_are_counted_before_they_are_made():
    spec = {"a": space.grid_search([1, 2, 3]), "b": {"c": space.grid_search([1, 2]), "d": space.uniform(0, 1)}}
    assert count_spec_samples(spec) == 6
    assert count_spec_samples(spec, num_samples=4) == 24
    assert count_spec_samples({"a": 1}, num_samples=2) == 2
    variants: list[Variant] = list(generate_variants(spec, random_state=0))
    assert len(variants) == 6
    assert all(set(resolved) == {("a",), ("b", "c"), ("b", "d")} for resolved, _ in variants)
