import dataclasses

import pytest
from loopback_hub import LoopbackHub, add_emotion_data

import emotion_tutorial as et
from emotion_tutorial.profiles import PROFILES


def test_profiles_need_the_network_only_where_they_say_so(hub: LoopbackHub, small):
    add_emotion_data(hub, small)
    assert et.get_profile() == PROFILES["quick"]
    assert [(p.data, p.checkpoint) for p in PROFILES.values()] == [
        ("embedded", "embedded"),
        ("hub", "embedded"),
        ("hub", "distilbert-base-uncased"),
    ]
    profile = et.get_profile("real")
    assert et.load_splits(profile.data, **profile.columns)["train"]["text"][:] == small["train"]["text"][:]


@pytest.mark.parametrize("setting", ["data", "checkpoint", "text_column", "label_column"])
@pytest.mark.parametrize("profile", [None, " ", "full"])
@pytest.mark.parametrize("value", [None, "  ", " theirs "])
@pytest.mark.parametrize("keyword", [{}, {"epochs": 9}, {"mine": "mine"}], ids=str)
def test_a_keyword_wins_over_the_environment_and_that_over_the_name(monkeypatch, setting, profile, value, keyword):
    for variable, content in (("PROFILE", profile), (setting.upper(), value)):
        if content is not None:
            monkeypatch.setenv(f"EMOTION_TUTORIAL_{variable}", content)
    found = et.get_profile("real", **{name.replace("mine", setting): given for name, given in keyword.items()})
    base = PROFILES["full" if profile == "full" else "real"]
    wanted = keyword.get("mine") or (value or "").strip() or getattr(base, setting)
    assert found == dataclasses.replace(base, **{"epochs": keyword.get("epochs", base.epochs), setting: wanted})
    assert found.columns == {"text_column": found.text_column, "label_column": found.label_column}


def test_unknown_profile_and_setting_are_refused():
    assert et.get_profile("full", name="mine") == dataclasses.replace(PROFILES["full"], name="mine")
    for name in ("fast", ["quick"]):
        with pytest.raises(et.SettingsError, match=r"No profile.*'quick', 'real', 'full'"):
            et.get_profile(name)
    with pytest.raises(et.SettingsError, match=r"get_profile\('full'\)"):
        et.get_profile(name="full")
    with pytest.raises(TypeError, match="'epoch'"):
        et.get_profile(epoch=3)
