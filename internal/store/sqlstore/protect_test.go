package sqlstore_test

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/store/storetest"
)

// TestProtectionTriggers tries by hand what undoes a tombstone, or makes one up.
func TestProtectionTriggers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		p := someProject(t, s)
		if err := storetest.Race(t.Context(), p, 1, 2, s); err != nil {
			t.Fatal(err)
		}
		db := d.behind(t)
		if _, err := db.Exec("UPDATE release SET fragment = ''"); err == nil {
			t.Error("an index entry was emptied without a tombstone")
		}
		exec(t, db, "UPDATE release SET state = 'tombstoned'")
		exec(t, db, "UPDATE release SET fragment = ''") // as a tombstone does
		exec(t, db, "INSERT INTO tombstone (release, reason, text, requester, approver, time, idx, request) VALUES (1, 'legal', '', 'a', 'b', 1, 2, 3)")
		exec(t, db, "INSERT INTO quarantine (release, before, open, ending, reason, text, set_by, person, time, idx, lapses, due, confirmed_by, confirmed, ended_by, ended, ended_text) "+
			"VALUES (1, 'active', 1, '', 'legal', '', 'a', 'a', 1, 2, 3, 4, '', 0, '', 0, '')")
		exec(t, db, "INSERT INTO request (kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires, state, due, decider, decider_leaf, decided, effective, answer) "+
			"VALUES ('tombstone', 1, 1, '', '', '', 'legal', '', 'a', '', 1, 2, 'waiting', 2, '', '', 0, 0, '')")
		for _, statement := range []string{
			"UPDATE release SET state = 'active'", "UPDATE release SET fragment = 'x'", "DELETE FROM tombstone", "UPDATE tombstone SET reason = 'x'",
			"DELETE FROM quarantine", "DELETE FROM request", "UPDATE request SET requester = 'x'", "UPDATE request SET document = 'x'", "UPDATE request SET made = 7",
		} {
			_, err := db.Exec(statement)
			if err == nil {
				t.Errorf("%s: done", statement)
				continue
			}
			if said := err.Error(); !strings.Contains(said, "never") && !strings.Contains(said, "append-only") && !strings.Contains(said, "final") {
				t.Errorf("%s: refused for another reason: %v", statement, err)
			}
		}
		// One open request for one thing, one quarantine of a release.
		for _, statement := range []string{
			"INSERT INTO request SELECT id + 1, kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires, state, due, decider, decider_leaf, decided, effective, answer FROM request",
			"INSERT INTO quarantine SELECT id + 1, release, before, open, ending, reason, text, set_by, person, time, idx, lapses, due, confirmed_by, confirmed, ended_by, ended, ended_text FROM quarantine",
		} {
			if _, err := db.Exec(statement); err == nil || !strings.Contains(strings.ToLower(err.Error()), "unique") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}
