package sqlstore

import (
	"database/sql"

	"github.com/chartkeep/chartkeep/internal/release"
)

// withheldColumns and withheldJoins are the part of selectRelease that tells why
// a release is not served. They cost the others two comparisons.
var (
	withheldColumns = "q.reason, q.text, q.set_by, " + named("q.set_by") + ", q.time, q.idx, q.lapses, q.confirmed, q.confirmed_by, " + named("q.confirmed_by") + ", q.person, q.before, " +
		"ts.reason, ts.text, ts.requester, " + named("ts.requester") + ", ts.approver, " + named("ts.approver") + ", ts.time, ts.idx, ts.request "
	withheldJoins = "LEFT JOIN quarantine q ON r.state = 'quarantined' AND q.release = r.id AND q.open = 1 " +
		"LEFT JOIN tombstone ts ON r.state = 'tombstoned' AND ts.release = r.id "
)

// named is holder for a column that is mostly null: nothing is joined then.
func named(column string) string {
	return "COALESCE((SELECT n.name FROM account n WHERE n.id = " + column + "), (SELECT 'token ' || COALESCE(NULLIF(n.name, ''), n.id) FROM token n WHERE n.id = " + column + "), '')"
}

// withheldRow receives withheldColumns.
type withheldRow struct {
	reason, text, by, confirmedBy, person, before sql.NullString
	byName, confirmedByName                       string
	time, idx, lapses, confirmed                  sql.NullInt64

	stoneReason, stoneText, requester, approver sql.NullString
	requesterName, approverName                 string
	stoneTime, stoneIdx, request                sql.NullInt64
}

func (w *withheldRow) into() []any {
	return []any{
		&w.reason, &w.text, &w.by, &w.byName, &w.time, &w.idx, &w.lapses, &w.confirmed, &w.confirmedBy, &w.confirmedByName, &w.person, &w.before,
		&w.stoneReason, &w.stoneText, &w.requester, &w.requesterName, &w.approver, &w.approverName, &w.stoneTime, &w.stoneIdx, &w.request,
	}
}

// note says on a release why it is not served.
func (w *withheldRow) note(r *release.Release) {
	if w.reason.Valid {
		q := &release.QuarantineNote{
			Reason: w.reason.String, Text: w.text.String, By: w.by.String, ByName: w.byName, Time: fromMillis(w.time.Int64), LogIndex: w.idx.Int64,
			Lapses: fromMillis(w.lapses.Int64), Confirmed: fromMillis(w.confirmed.Int64), ConfirmedBy: w.confirmedBy.String, ConfirmedByName: w.confirmedByName,
			Person: w.person.String, Before: release.State(w.before.String),
		}
		if w.confirmed.Int64 != 0 {
			q.Lapses = fromMillis(0)
		}
		r.Quarantine = q
	}
	if w.stoneReason.Valid {
		r.Tombstone = &release.TombstoneNote{
			Reason: w.stoneReason.String, Text: w.stoneText.String, Requester: w.requester.String, RequesterName: w.requesterName,
			Approver: w.approver.String, ApproverName: w.approverName, Time: fromMillis(w.stoneTime.Int64), LogIndex: w.stoneIdx.Int64, Request: w.request.Int64,
		}
	}
}
