"""ADDR's classifiers, errors and regulariser against the published numbers and loop twins."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    array,
    dtypes,
    random_batches,
    rounded,
    seeds,
    value_and_gradients,
    vectors,
)
from tests.reference import domain_errors as reference
from xmkeras import losses

WORDS, REGIONS, EXPECTED = vectors("addr", "words", "regions")


@pytest.fixture(scope="module")
def classifiers():
    return losses.fit_domain_classifiers(WORDS, REGIONS)


@pytest.fixture(scope="module")
def errors(classifiers):
    return losses.domain_error_matrix(WORDS, REGIONS, *classifiers)


def test_the_fit_and_the_error_matrix_agree(classifiers, errors):
    agree(classifiers[0], EXPECTED["W_fit"])
    agree(classifiers[1], EXPECTED["b_fit"])
    agree(errors, EXPECTED["L_matrix_rows_data_cols_classifier"])
    sums = losses.domain_error_matrix(WORDS, REGIONS, *classifiers, reduction="sum")
    agree(sums[0, 0], EXPECTED["L_adv_bce_sum_pair0"])
    agree(-sums[0, 0], EXPECTED["poster_eq2_value_as_printed_pair0"])


def test_a_classifier_of_zeros_errs_by_log_two():
    zeros = losses.domain_error_matrix(WORDS, REGIONS, np.zeros((1, 4)), np.zeros(1))
    agree(zeros, np.full((3, 1), EXPECTED["error_at_zero_classifier_mean"]))


@pytest.mark.parametrize(("as_printed", "which"), [(True, "printed"), (False, "symmetric")])
def test_both_readings_of_the_regulariser_agree(errors, as_printed, which):
    q, r = np.array([1, 2, 0]), np.array([2, 0, 1])
    first, second = losses.domain_regulariser_terms(errors, q, r, as_printed=as_printed)
    agree(first[0], EXPECTED["reg1"])
    agree(second[0], EXPECTED["reg2_as_printed" if as_printed else "reg2_symmetric"])
    agree(first[0] + second[0], EXPECTED[f"reg_total_{which}"])
    total = losses.domain_regulariser(errors, q, r, as_printed=as_printed)
    agree(total, reference.regulariser(array(errors), q, r, as_printed=as_printed))


def test_the_adversary_and_its_gradients_with_constant_classifiers_agree(errors):
    agree(losses.domain_adversary(errors[:1, :1]), EXPECTED["L_adv_bce_mean_pair0"])

    def own_error(words, regions):
        fitted = losses.fit_domain_classifiers(words, regions)
        return losses.domain_error_matrix(words, regions, *fitted)[0, 0]

    _, gradients = value_and_gradients(own_error, WORDS.astype("f4"), REGIONS.astype("f4"))
    for name, gradient in zip(("words", "regions"), gradients, strict=True):
        agree(gradient[0], EXPECTED[f"grad_Ladv_mean_wrt_{name}_pair0_stopgrad_W"])
        assert not gradient[1:].any()


def test_gradients_flow_through_an_unrolled_fit():
    def errors_of_others(words, unrolled):
        fitted = losses.fit_domain_classifiers(words, REGIONS, unrolled=unrolled)
        return keras.ops.sum(losses.domain_error_matrix(WORDS, REGIONS, *fitted))

    for unrolled in (True, False):
        _, (gradient,) = value_and_gradients(lambda w, u=unrolled: errors_of_others(w, u), WORDS.astype("f4"))
        assert gradient.any() == unrolled


@given(seed=seeds, n=st.integers(1, 3), words=st.integers(1, 4), regions=st.integers(1, 4), dtype=dtypes)
@random_batches
def test_agrees_with_the_loops_on_masked_elements(seed, n, words, regions, dtype):
    random = np.random.default_rng(seed)
    w, w64 = rounded(random.normal(0, 1, (n, words, 3)), dtype)
    r, r64 = rounded(random.normal(0, 1, (n, regions, 3)), dtype)
    masks = {"word_mask": random.random((n, words)) < 0.7, "region_mask": random.random((n, regions)) < 0.7}
    masks["word_mask"][:, 0] = True
    weights, bias = losses.fit_domain_classifiers(w, r, **masks, steps=3, weight_decay=0.1)
    errors = losses.domain_error_matrix(w, r, weights, bias, **masks)
    parts = [(w64[p][masks["word_mask"][p]], r64[p][masks["region_mask"][p]]) for p in range(n)]
    fits = [reference.fit(*part, steps=3, decay=0.1) for part in parts]
    want = [[reference.error(*part, *fit) for fit in fits] for part in parts]
    agree(weights, [fit[0] for fit in fits], 1e-4, 1e-5)
    agree(errors, want, 1e-4, 1e-5)
    q, others = random.integers(0, n, (2, n))
    agree(losses.domain_regulariser(errors, q, others), reference.regulariser(want, q, others), 1e-4, 2e-5)


def test_padding_may_hold_anything():
    words = np.concatenate([WORDS, np.full((3, 2, 4), np.nan)], axis=1)
    mask = np.arange(5) < [[3], [3], [3]]
    weights, bias = losses.fit_domain_classifiers(words, REGIONS, word_mask=mask)
    agree(weights, EXPECTED["W_fit"])
    got = losses.domain_error_matrix(words, REGIONS, weights, bias, word_mask=mask)
    agree(got, EXPECTED["L_matrix_rows_data_cols_classifier"])


def test_a_pair_that_is_its_own_negative_has_no_term(errors):
    agree(losses.domain_regulariser(errors[:1, :1], [0], [0]), 0)


def test_unknown_reduction_names_the_choices(classifiers):
    with pytest.raises(ValueError, match="mean, sum"):
        losses.domain_error_matrix(WORDS, REGIONS, *classifiers, reduction="max")
