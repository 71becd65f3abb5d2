from __future__ import annotations

from serviceopt_journal.documents.particles import RejectionRecord
from serviceoptctl.render.rejections import rejections


def test_without_a_rejection_nothing_is_said() -> None:
    assert rejections(RejectionRecord()) == ""


def test_what_was_rejected_is_told_by_rule_with_the_hours_saved_as_an_estimate() -> None:
    record = RejectionRecord(
        rejected=12,
        by_rule=(
            ("memory", 8),
            ("declared", 4),
        ),
        hours_saved=2.0,
    )
    assert rejections(record) == "12 (memory 8, declared 4), about 2 h 00 min saved (estimate); none audited"


def test_how_often_the_rules_were_wrong_is_told_with_its_interval() -> None:
    record = RejectionRecord(
        rejected=60,
        by_rule=(("surrogate", 60),),
        audited=20,
        false=1,
        false_rate=0.05,
        false_rate_interval=(0.0089, 0.2361),
    )
    assert rejections(record) == "60 (surrogate 60); 20 audited, 5 % wrong (95 %: 0.9 % to 23.6 %)"


def test_audits_are_told_also_where_every_rejection_was_audited() -> None:
    record = RejectionRecord(audited=1, false_rate=0.0, false_rate_interval=(0.0, 0.7935))
    assert rejections(record) == "0; 1 audited, 0 % wrong (95 %: 0 % to 79.3 %)"
