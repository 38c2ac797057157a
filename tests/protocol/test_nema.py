"""Names of tracks and labels as the organisers' Java evaluator reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.protocol.nema import breaks_line, clean_label, label_warnings, path_warnings, split_line, track_id


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/data/blues.00000.wav", "blues"),
        ("/data/blues.00001.wav", "blues"),
        ("/other.folder/Track_01.WAV", "track_01"),
        ("relative.wav", "relative"),
        ("/x/ÄÖ.wav", "äö"),
        ("/x/no_extension", "no_extension"),
        ("/x/.hidden.wav", ""),
    ],
)
def test_a_track_is_its_file_name_in_lower_case_up_to_the_first_dot(path, identity):
    assert track_id(path) == identity


@pytest.mark.parametrize(
    ("label", "cleaned"),
    [
        ("R&B", "rb"),
        ("Hip-Hop", "hiphop"),
        ("hip hop", "hiphop"),
        ("Jazz 60s!", "jazz60s"),
        ("Música", "msica"),
        ("日", ""),
    ],
)
def test_labels_are_compared_by_their_ascii_letters_and_digits_in_lower_case(label, cleaned):
    assert clean_label(label) == cleaned


@pytest.mark.parametrize("character", list(" \t\n\x0b\f\r"))
def test_ascii_white_space_breaks_a_line(character):
    assert breaks_line(f"a{character}b")


@pytest.mark.parametrize("character", ["\u00a0", "\u3000", "\u0085", "\u2028", "_", "-"])
def test_other_characters_do_not_break_a_line(character):
    assert not breaks_line(f"a{character}b")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/a.wav\trock", ("/a.wav", "rock")),
        (" /a.wav \t\x0b rock 0.9 ", ("/a.wav", "rock")),
        ("/my music/a.wav\trock", ("/my", "music/a.wav")),
        ("/a\u00a0b.wav\trock", ("/a\u00a0b.wav", "rock")),
        ("/a.wav\t", None),
        ("", None),
    ],
)
def test_a_line_is_split_into_its_first_two_words(line, words):
    assert split_line(line) == words


@given(st.text())
def test_a_cleaned_label_has_only_ascii_letters_and_digits_and_does_not_change_again(label):
    cleaned = clean_label(label)
    assert set(cleaned) <= set("abcdefghijklmnopqrstuvwxyz0123456789")
    assert clean_label(cleaned) == cleaned


@given(folder=st.text(st.characters(exclude_characters="\0")), name=st.text(st.characters(exclude_characters="/\0\\")))
def test_folders_do_not_change_the_identity_of_a_track(folder, name):
    assert track_id(f"{folder}/x{name}") == track_id(f"x{name}")
    assert "." not in track_id(name)


def parts_of(warning):
    """Return the count, the examples and the code of a warning."""
    return int(warning.split()[0]), warning.rpartition(": ")[2].rpartition(" [")[0], warning.rpartition(" [")[2][:-1]


def test_white_space_in_a_path_is_a_warning():
    [warning] = path_warnings(["/my music/track1.wav", "/music/track2.wav"])
    assert parts_of(warning) == (1, "/my music/track1.wav", "output.cut-line")


def test_first_dot_collisions_across_folders_and_case_are_a_warning():
    [warning] = path_warnings(["/a/blues.00000.wav", "/a/blues.00001.wav", "/b/Rock.wav", "/c/rock.au", "/c/jazz.wav"])
    pairs = "/a/blues.00000.wav = /a/blues.00001.wav, /b/Rock.wav = /c/rock.au"
    assert parts_of(warning) == (2, pairs, "output.same-name")


def test_names_shorter_than_three_characters_are_a_warning():
    [warning] = path_warnings(["/a/ab", "/a/abc", "/a/c.w"])
    assert parts_of(warning) == (1, "/a/ab", "output.short-name")


def test_a_path_listed_twice_does_not_collide_with_itself():
    assert path_warnings(["/a/track.wav", "/a/track.wav"]) == []


def test_labels_that_merge_after_cleaning_are_a_warning():
    [warning] = label_warnings(["R&B", "rock", "r'b", "RB", "R&B"])
    assert parts_of(warning) == (1, """'R&B' = "r'b" = 'RB'""", "output.same-label")


def test_labels_without_ascii_letters_are_a_warning_and_are_not_merged():
    [warning] = label_warnings(["日本", "中国", "rock"])
    assert parts_of(warning) == (2, "日本, 中国", "output.no-letters")


@pytest.mark.parametrize(("n", "more"), [(10, ", ..."), (3, "")])
def test_at_most_three_examples_are_given(n, more):
    [warning] = label_warnings([f"class {k}" for k in range(n)])
    assert parts_of(warning) == (n, f"class 0, class 1, class 2{more}", "output.cut-line")


def test_good_names_give_no_warning():
    assert path_warnings([f"/data/track{k:05}.wav" for k in range(500)]) == []
    assert label_warnings(["blues", "Hip-Hop", "R&B", "60s"]) == []
