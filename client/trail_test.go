package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// chronicle is a server with two logs that says of them what a test lets it say.
type chronicle struct {
	releases, audits *history
	rows             map[int]audit.Source // what it shows beside events
	gone             map[int]bool         // rows that it says are gone
	short            int                  // events that it keeps to itself in an answer
	babble           string               // the path that answers nonsense
}

// salt is the same for all: tests change what is committed to with it.
var salt = [16]byte{1, 2, 3}

func source(i int) audit.Source {
	return audit.Source{IP: "192.0.2." + strconv.Itoa(i%250), UserAgent: "Helm/4.0.0"}
}

// newChronicle has n events, the first of a time, and one anchor after each
// hundred of them.
func newChronicle(t testing.TB, n int) *chronicle {
	c := &chronicle{releases: newHistory(t, someOrigin, 1), audits: newHistory(t, someOrigin+"/audit", 2), rows: map[int]audit.Source{}, gone: map[int]bool{}}
	c.releases.filler(3)
	for i := range n {
		c.event(i, source(i))
		if i%100 == 99 {
			c.anchor().releases.filler(150) // so that there is more than one bundle
		}
	}
	return c
}

// event adds an event, which commits to a source.
func (c *chronicle) event(i int, from audit.Source) {
	c.audits.leaves = append(c.audits.leaves, fmt.Appendf(nil, `{"schema":"chartkeep/audit/v1","time":%q,"reason":"event %d","source":%q}`, someTime.Format(time.RFC3339), i, from.Commit(salt)))
	c.rows[len(c.audits.leaves)-1] = from
}

// anchor puts the state of the audit log into the release log.
func (c *chronicle) anchor() *chronicle {
	edge, _ := c.audits.edge(c.audits.size())
	c.releases.add(tlog.Audit{Origin: someOrigin + "/audit", Size: edge.Size(), Root: edge.Root(), Time: someTime})
	return c
}

func (c *chronicle) keys() [2]string { return [2]string{c.releases.vkey, c.audits.vkey} }

func (c *chronicle) clone() *chronicle {
	d := *c
	d.releases, d.audits, d.rows, d.gone = c.releases.clone(), c.audits.clone(), maps.Clone(c.rows), maps.Clone(c.gone)
	return &d
}

func (c *chronicle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(answer any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}
	switch path := r.URL.Path; {
	case c.babble == path:
		_, _ = w.Write([]byte("nonsense"))
	case path == "/log/checkpoint":
		_, _ = w.Write(c.releases.checkpoint(c.releases.size()))
	case strings.HasPrefix(path, "/log/tile/entries/"):
		_, n, width, _, err := tlog.ParseTilePath(strings.TrimPrefix(path, "/log/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		b, err := tlog.EntryBundle(c.releases.leaves[n*256 : n*256+int64(width)])
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(b)
	case path == "/api/v1/audit/log":
		say(map[string]any{"schema": "audit-log/v1", "checkpoint": string(c.audits.checkpoint(c.audits.size()))})
	case path == "/api/v1/audit/log/entries":
		from, _ := strconv.Atoi(r.FormValue("from"))
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		items := []map[string]any{}
		for i := from; i < min(from+limit, len(c.audits.leaves)-c.short); i++ {
			item := map[string]any{"index": i, "leaf": string(c.audits.leaves[i]), "missing": c.gone[i]}
			if from, ok := c.rows[i]; ok {
				item["ip"], item["user_agent"], item["salt"] = from.IP, from.UserAgent, salt[:]
			}
			items = append(items, item)
		}
		say(map[string]any{"schema": "audit-entries/v1", "items": items})
	default:
		http.NotFound(w, r)
	}
}

// audited is what VerifyAudit says of the server at a time: the verdict, and
// each check that does not hold. keys are those of both logs.
func (c *chronicle) audited(t *testing.T, keys [2]string, since *AuditState, at time.Time) (v AuditVerification, said []string) {
	t.Helper()
	srv := httptest.NewServer(c)
	defer srv.Close()
	client, err := connect(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = client.VerifyAudit(t.Context(), keys[0], keys[1], since, at); err != nil {
		return v, []string{string(problem.KindOf(err))}
	}
	said = []string{string(v.Verdict)}
	for _, check := range v.Checks {
		if check.Result != Pass {
			said = append(said, check.Name+": "+check.Detail)
		}
	}
	if (v.State != nil) != (v.Verdict == Passed) {
		t.Errorf("the verdict is %s, and a state to keep: %t", v.Verdict, v.State != nil)
	}
	return v, said
}

// TestVerifyAudit shows an audit log of 650 events to a reader, in truth and
// with one lie after another. The server holds both keys in all of them.
func TestVerifyAudit(t *testing.T) {
	const none = "anchors: the release log has no state of the audit log; a server writes one within a minute of its start, and every hour"
	truth := newChronicle(t, 650)
	bare := newChronicle(t, 20)
	tests := []struct {
		name string
		of   *chronicle
		lie  func(c *chronicle)
		at   time.Duration // after the first event
		want []string
	}{
		{"truth", truth, func(*chronicle) {}, time.Hour, []string{"pass"}},
		{"truth of long ago", truth, func(*chronicle) {}, 1e4 * time.Hour, []string{"pass"}},
		{"no event yet", newChronicle(t, 0), func(*chronicle) {}, 0, []string{"pass", none}},
		{"young, without an anchor", bare, func(*chronicle) {}, time.Hour, []string{"pass", none}},
		{"old, without an anchor", bare, func(*chronicle) {}, 3 * time.Hour, []string{"incomplete", none}},
		{"an event changed and signed anew", truth, func(c *chronicle) { c.audits.leaves[250] = []byte(`{"source":""}`) }, 0,
			[]string{"fail", "anchors: leaf 305 of the release log says that the first 300 events are others, and 3 more"}},
		{"an event taken out and signed anew", truth, func(c *chronicle) { c.audits.leaves = slices.Delete(c.audits.leaves, 640, 641) }, 0,
			[]string{"fail", "sources: events that came from another address than the one that is shown: 9, the first is event 640"}},
		{"the end cut off", truth, func(c *chronicle) { c.audits.leaves = c.audits.leaves[:550] }, 0,
			[]string{"fail", "anchors: leaf 758 of the release log says that there were 600 events, and there are 550"}},
		{"everything taken out", truth, func(c *chronicle) { c.audits.leaves = nil }, 0,
			[]string{"fail", "anchors: leaf 3 of the release log says that there were 100 events, and there are 0, and 5 more"}},
		{"an anchor of what never was", truth, func(c *chronicle) {
			c.releases.add(tlog.Audit{Origin: someOrigin + "/audit", Size: 640, Root: tlog.EmptyRoot(), Time: someTime})
		}, 0, []string{"fail", "anchors: leaf 909 of the release log says that the first 640 events are others"}},
		{"events that are not given out", truth, func(c *chronicle) { c.short = 5 }, 0,
			[]string{"fail", "audit log: the server gives 133 of the 138 leaves from 512 on: leaves are missing", "anchors: leaf 758 of the release log says that there were 600 events, and there are 512"}},
		{"another address", truth, func(c *chronicle) { c.rows[7] = source(8) }, 0,
			[]string{"fail", "sources: events that came from another address than the one that is shown: 1, the first is event 7"}},
		{"an address emptied", truth, func(c *chronicle) { c.rows[7] = audit.Source{} }, 0,
			[]string{"fail", "sources: events that came from another address than the one that is shown: 1, the first is event 7"}},
		{"addresses forgotten with their salts", truth, func(c *chronicle) { clear(c.rows) }, 0, []string{"pass"}},
		{"rows gone", truth, func(c *chronicle) { c.gone[3], c.gone[9] = true, true }, 0,
			[]string{"fail", "sources: events whose rows are gone: 2, the first is event 3"}},
		{"an answer that is none", truth, func(c *chronicle) { c.babble = "/log/checkpoint" }, 0, []string{"unavailable"}},
		{"events that are none", truth, func(c *chronicle) { c.babble = "/api/v1/audit/log/entries" }, 0, []string{"unavailable"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := test.of.clone()
			test.lie(c)
			_, said := c.audited(t, c.keys(), nil, someTime.Add(test.at))
			if diff := cmp.Diff(test.want, said); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("signed by others", func(t *testing.T) {
		c := truth.clone()
		other := newHistory(t, someOrigin, 3)
		c.releases.skey = other.skey
		other = newHistory(t, someOrigin+"/audit", 4)
		c.audits.skey = other.skey
		_, said := c.audited(t, c.keys(), nil, someTime)
		if len(said) != 3 || said[0] != "fail" || !strings.HasPrefix(said[1], "release log signature: ") || !strings.HasPrefix(said[2], "audit log signature: ") {
			t.Error(said)
		}
	})
	t.Run("without keys", func(t *testing.T) {
		if v, said := truth.audited(t, [2]string{}, nil, someTime); v.Verdict != Incomplete || len(said) != 3 {
			t.Error(said)
		}
	})
}

// TestVerifyAuditGoesOn checks from a state that was kept.
func TestVerifyAuditGoesOn(t *testing.T) {
	before := newChronicle(t, 320)
	v, said := before.audited(t, before.keys(), nil, someTime)
	if v.Verdict != Passed {
		t.Fatal(said)
	}
	text, err := json.Marshal(v.State)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ParseAuditState(text)
	if err != nil {
		t.Fatal(err)
	}
	grown := before.clone()
	for i := 320; i < 420; i++ {
		grown.event(i, source(i))
	}
	rewritten := before.clone()
	rewritten.audits.leaves[5] = []byte("{}")
	for _, test := range []struct {
		name string
		now  *chronicle
		want []string
	}{
		{"nothing new", before, []string{"pass"}},
		{"grown", grown, []string{"pass"}},
		{"grown, and anchored", grown.clone().anchor(), []string{"pass"}},
		{"rewritten", rewritten, []string{"fail", "audit log: its 320 leaves do not have the root that was signed: leaves were changed, taken out or put in"}},
		{"gone back", newChronicle(t, 300), []string{"fail", "audit log: it had 320 leaves when it was checked before, and has 300 now: it went back"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Long ago: no anchor that is newer is asked for when there were some.
			v, said := test.now.audited(t, test.now.keys(), kept, someTime.Add(1000*time.Hour))
			if diff := cmp.Diff(test.want, said); diff != "" {
				t.Error(diff)
			}
			if v.From != 320 {
				t.Errorf("checked from event %d", v.From)
			}
		})
	}
	kept.Audit.Edge[0][0][0] ^= 1
	if text, err = json.Marshal(kept); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseAuditState(text); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a state that does not fit together is read: %v", err)
	}
}
