package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// openPage opens a page that has to be there and in order.
func openPage(t *testing.T, f *fakeService, c release.Caller, path string) *element {
	t.Helper()
	w := get(t, f, c, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d\n%s", path, w.Code, w.Body)
	}
	doc := parseHTML(t, w.Body.String())
	checkPage(t, doc)
	return doc
}

// TestLoop: a pipeline that tries the same thing in a loop is one row with a
// count, hides nothing else, and can be seen one by one.
func TestLoop(t *testing.T) {
	f := newSample(t)
	f.loop(30)
	doc := openPage(t, f, maintainer, "/ui/audit")
	first := doc.all("tbody tr")[0]
	if got := first.words(); !strings.Contains(got, "last of 31") || !strings.Contains(got, "31 times since 2026-11-21 17:40:00Z") || !strings.Contains(got, "overwrite refused") {
		t.Errorf("the loop is %s", got)
	}
	if n := len(doc.all("tbody tr")); n != 1+10+11 { // the token exchanges, and what else was there before
		t.Errorf("%d rows", n)
	}
	if got := doc.one(t, ".pager span").words(); got != "52 events in 22 rows: what repeats is counted" {
		t.Errorf("the pages say %q", got)
	}
	each := first.one(t, ".sub a").attrs["href"]
	if !strings.Contains(each, "each=yes") {
		t.Fatalf("the count leads to %s", each)
	}
	doc = openPage(t, f, maintainer, each)
	if n := len(doc.all("tbody tr")); n != 31 || !strings.Contains(doc.one(t, "caption").words(), "one by one") {
		t.Errorf("one by one there are %d rows", n)
	}

	// A page ends at its events, and not at its rows; the next begins behind.
	f.loop(200)
	doc = openPage(t, f, maintainer, "/ui/audit")
	older := doc.all(".pager a")
	if len(older) != 1 || older[0].words() != "Older" {
		t.Fatalf("%d links", len(older))
	}
	doc = openPage(t, f, maintainer, older[0].attrs["href"])
	if got := doc.one(t, ".pager span").words(); !strings.HasPrefix(got, "100 events in ") {
		t.Errorf("the second page has %q", got)
	}

	// Other bytes or another actor are never the same row.
	g := newSample(t)
	g.loop(5)
	n := 0
	for i := range g.events[12:] {
		if e := &g.events[12+i].Event; e.Name == audit.RefusedOverwrite {
			if n++; n == 1 {
				e.After = digestOf("third")
			} else if n == 2 {
				e.Actor.ID = "usr-other"
			}
		}
	}
	if doc := openPage(t, g, maintainer, "/ui/audit?event=release.refused.overwrite"); len(doc.all("tbody tr")) != 3 || !strings.Contains(doc.words(), "4 times") {
		t.Errorf("put together: %s", doc.one(t, "main table").words())
	}
}

// TestExport: the same export as that of the API, page by page, up to what was
// there when it began.
func TestExport(t *testing.T) {
	f := newSample(t)
	f.evidence.exportPage = 5
	form := url.Values{"format": {"jsonl"}, "project": {"platform"}}
	w := post(t, f, maintainer, "/ui/audit/export", form)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/jsonl" || w.Header().Get("Content-Disposition") != `attachment; filename="audit-jsonl-to-8811.jsonl"` ||
		w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("status %d, %v\n%s", w.Code, w.Header(), w.Body)
	}
	if n := strings.Count(w.Body.String(), "jsonl "); n != 9 || len(f.evidence.exports) != 2 {
		t.Errorf("%d events in %d parts\n%s", n, len(f.evidence.exports), w.Body)
	}
	for _, x := range f.evidence.exports {
		if x.Before != 8812 || x.Project != "platform" {
			t.Errorf("asked for %+v", x)
		}
	}
	w = post(t, f, maintainer, "/ui/audit/export", url.Values{"format": {"cloudevents"}, "since": {"2026-11-21T17:00:00Z"}, "event": {"release."}, "outcome": {"denied"}, "actor": {"ci-web"}, "rule": {"overwrite"}, "source": {"10.4.0.18"}})
	want := release.AuditFilter{Action: "release.", Outcome: "denied", Actor: "ci-web", Rule: "overwrite", Source: "10.4.0.18", Since: time.Date(2026, 11, 21, 17, 0, 0, 0, time.UTC), Before: 8806}
	if got := f.evidence.exports[2]; w.Code != 200 || got != want || w.Header().Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("status %d, asked for %+v", w.Code, got)
	}
	for name, tc := range map[string]struct {
		who    release.Caller
		form   url.Values
		status int
	}{
		"stranger":        {nobody, form, 401},
		"reader":          {reader, form, 403},
		"owner, all":      {owner, url.Values{"format": {"jsonl"}}, 403},
		"owner, own":      {owner, form, 200},
		"another project": {owner, url.Values{"format": {"jsonl"}, "project": {"team-a/web"}}, 404},
		"no format":       {maintainer, url.Values{}, 400},
		"no such format":  {maintainer, url.Values{"format": {"exe"}}, 400},
		"no such time":    {maintainer, url.Values{"format": {"jsonl"}, "since": {"x"}}, 400},
		"nothing":         {maintainer, url.Values{"format": {"jsonl"}, "chart": {"x"}}, 404},
	} {
		w := post(t, f, tc.who, "/ui/audit/export", tc.form)
		if w.Code != tc.status || tc.status != 200 && w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: status %d, want %d", name, w.Code, tc.status)
		}
	}
	r := httptest.NewRequest("POST", "https://keep.example/ui/audit/export", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	before := len(f.evidence.exports)
	if w := serve(t, f, maintainer, r); w.Code != http.StatusForbidden || len(f.evidence.exports) != before {
		t.Errorf("a form of another site: status %d", w.Code)
	}
	// A part is never taken for the whole.
	g := newSample(t)
	g.evidence.exportPage, g.evidence.exportErr = 5, errors.New("disk")
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // the value is defined to be compared
			t.Errorf("an export that breaks off ends with %v", v)
		}
	}()
	post(t, g, maintainer, "/ui/audit/export", form)
}

// TestRefusedDownload: whole bytes of the digest or nothing, as a file that
// nothing opens by itself, to who may read the trail.
func TestRefusedDownload(t *testing.T) {
	f := newSample(t)
	d := digestOf("another archive")
	path := "/ui/audit/refused?project=platform&digest=" + d
	for _, c := range []release.Caller{maintainer, owner, admin} {
		w := get(t, f, c, path)
		if w.Code != 200 || w.Body.String() != "another archive" || w.Header().Get("Content-Type") != "application/octet-stream" || w.Header().Get("X-Content-Type-Options") != "nosniff" ||
			w.Header().Get("Content-Disposition") != `attachment; filename="refused-`+d[7:15]+`.tgz.refused"` || w.Header().Get("Content-Security-Policy") != csp {
			t.Errorf("%s: status %d, %v, %q", c.Principal.Name, w.Code, w.Header(), w.Body)
		}
	}
	if w := get(t, f, nobody, path); w.Code != http.StatusUnauthorized {
		t.Errorf("a stranger: status %d", w.Code)
	}
	if w := get(t, f, reader, path); w.Code == http.StatusOK {
		t.Errorf("a reader: status %d", w.Code)
	}
	for name, change := range map[string]func(k *release.RefusedCopy){
		"other bytes":     func(k *release.RefusedCopy) { k.Digest = digestOf("what the row says") },
		"longer than row": func(k *release.RefusedCopy) { k.Digest, k.Size = digestOf("what the row says"), 3 },
	} {
		g := newSample(t)
		change(&g.evidence.copies[0])
		w := get(t, g, maintainer, "/ui/audit/refused?project=platform&digest="+g.evidence.copies[0].Digest)
		if w.Code == http.StatusOK || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: status %d, %v", name, w.Code, w.Header())
		}
	}
}

// TestRecordStates: what is broken, and what was not checked, is called that.
func TestRecordStates(t *testing.T) {
	const path = "/ui/audit/8805"
	f := newSample(t)
	for name, tc := range map[string]struct {
		change func(*fakeService)
		has    []string // selector and words
		not    string
	}{
		"broken": {func(f *fakeService) {
			f.evidence.doubt = problem.New(problem.Disproven, "proof", "the path does not lead to the signed root")
		}, []string{".badge.bad | Proof broken", ".proof.bad | Broken: event 8,805 is not in the signed audit log", ".proof | does not lead to the signed root"}, ".badge.ok | In the audit log"},
		"not checked": {func(f *fakeService) { f.evidence.doubt = errors.New("disk /var/x") }, []string{".badge.unk | Not checked", ".proof.unk | This says nothing about the event"}, "main | /var/x"},
		"forgotten": {func(f *fakeService) {
			f.events[5].Salt, f.events[5].Event.Source = nil, audit.Source{}
		}, []string{"dd .st.unk | forgotten"}, "dt | User agent"},
		"moved":  {func(f *fakeService) { f.events[5].Event.Source.IP = "10.9.9.9" }, []string{"dd .st.bad | not the one of the event"}, "dd .st.ok | as logged"},
		"over":   {func(f *fakeService) { f.evidence.copies = nil }, []string{".is-new div | Copy a copy was kept, and its time is over"}, ".acts a | What was offered"},
		"large":  {func(f *fakeService) { f.evidence.copies, f.events[5].Event.Detail["copy"] = nil, "not kept: too large" }, []string{".is-new div | Copy not kept: too large"}, ".cmd | audit refused get"},
		"unsure": {func(f *fakeService) { f.evidence.copyErr = errors.New("disk") }, []string{".is-new div | Copy not known: it could not be looked for"}, ".acts a | What was offered"},
		"no files": {func(f *fakeService) {
			delete(f.events[5].Event.Detail, "file-01")
			delete(f.events[5].Event.Detail, "file-02")
		}, []string{"p .st.unk | not known"}, "caption | Files that differ"},
		"withdrawn": {func(f *fakeService) { f.events[5].Event.Before = digestOf("x") }, []string{".is-kept dt | Digest"}, ".is-kept dt | Content"},
	} {
		f.events, f.evidence = nil, fakeEvidence{}
		f.sampleEvents()
		f.sampleEvidence()
		tc.change(f)
		doc := openPage(t, f, maintainer, path)
		fit := func(line string) bool {
			selector, words, _ := strings.Cut(line, " | ")
			return slices.ContainsFunc(doc.all(selector), func(e *element) bool { return strings.Contains(e.words(), words) })
		}
		for _, line := range tc.has {
			if !fit(line) {
				t.Errorf("%s: nothing fits %s\n%s", name, line, doc.one(t, "main").words())
			}
		}
		if fit(tc.not) {
			t.Errorf("%s: %s fits", name, tc.not)
		}
	}
}

// TestHostileEvents: whatever a client, an account or a chart is called, it
// stays text in one line. parseHTML refuses what is not well formed.
func TestHostileEvents(t *testing.T) {
	const evil = "<script>alert(1)</script>\u202e\"'&\x1b[2J"
	f := newSample(t)
	for i := range f.events {
		e := &f.events[i].Event
		f.events[i].Actor = evil
		e.Actor.ID, e.Actor.Issuer, e.Actor.Subject = evil, evil, evil
		e.Source = audit.Source{IP: evil, UserAgent: evil + strings.Repeat("x", 5000)}
		e.Reason, e.RequestID = evil, evil
		if e.Resource.Chart != "" {
			e.Resource.Chart = evil
		}
		e.Detail = map[string]string{evil: evil, "file-01": "changed " + evil, "more": evil, "count": evil, "role": evil, "upstream": evil, "released": e.Detail["released"], "copy": evil}
	}
	f.evidence.copies = nil
	paths := []string{"/ui/audit", "/ui/audit?actor=" + url.QueryEscape(evil) + "&rule=" + url.QueryEscape(evil) + "&event=" + url.QueryEscape(evil)}
	for _, rec := range f.events {
		paths = append(paths, fmt.Sprintf("/ui/audit/%d", rec.Index))
	}
	for _, path := range paths {
		doc := openPage(t, f, maintainer, path)
		if len(doc.all("script")) != 0 || strings.ContainsAny(doc.one(t, "main").text, "\u202e\x1b") && strings.HasPrefix(path, "/ui/audit/") {
			t.Errorf("%s shows %q", path, doc.one(t, "main").words())
		}
	}
	if got := quoted("it's $(rm -rf ~) `x`"); got != `'it'\''s $(rm -rf ~) `+"`x`'" {
		t.Errorf("quoted for a shell: %s", got)
	}
	for _, s := range []string{"platform/web@1.4.2", "sha256:00ff", "release.refused."} {
		if quoted(s) != s {
			t.Errorf("quoted %s", quoted(s))
		}
	}
}

// TestLogStates: who vouches for the log, and what is not known of that.
func TestLogStates(t *testing.T) {
	f := newSample(t)
	size := int64(21)
	all := func(f *fakeService, change func(*release.Witnessing)) {
		w := f.evidence.witnessing
		w.MetSize = size
		for i := range w.Witnesses {
			w.Witnesses[i].State, w.Witnesses[i].Size, w.Witnesses[i].Failure, w.Witnesses[i].Cosigned = release.WitnessCosigned, size, "", now
		}
		if change != nil {
			change(w)
		}
	}
	for name, tc := range map[string]struct {
		change func(*fakeService)
		has    []string
	}{
		"all":  {func(f *fakeService) { all(f, nil) }, []string{".facts div | Quorum met, all 21 entries", ".facts dd .st.ok | met", ".facts div | Missing none", "caption | 3 of 3 cosigned all"}},
		"none": {func(f *fakeService) { f.evidence.witnessing = nil }, []string{".facts dd .st.unk | nobody witnesses this log"}},
		"required, met before": {func(f *fakeService) {
			f.evidence.witnessing.Mode, f.evidence.witnessing.MetSize = "required", size-1
		}, []string{".facts div | met at 20, 1 entry is newer, not published before the quorum has cosigned", ".facts div | Asked for required: nothing is published without it"}},
		"required, never met": {func(f *fakeService) {
			f.evidence.witnessing.Mode, f.evidence.witnessing.MetSize, f.evidence.witnessing.MetTime = "required", -1, time.Time{}
		}, []string{".facts dd .st.bad | never met", ".facts div | so no checkpoint is published"}},
		"best effort, never met": {func(f *fakeService) { f.evidence.witnessing.MetSize = -1 }, []string{".facts dd .st.warn | never met"}},
		"refuses": {func(f *fakeService) {
			all(f, func(w *release.Witnessing) {
				w.Witnesses[1].State, w.Witnesses[1].Refusal = release.WitnessRefusing, release.RefusedInconsistent
			})
		}, []string{".facts dd .st.bad | a witness refuses", "td .st.bad | refuses", "td .sub | what it has cosigned is not a beginning of this log", ".facts div | Missing b"}},
		"rotation": {func(f *fakeService) {
			f.evidence.rotations = []release.Rotation{{LogIndex: 3, Old: "keep.example/log+00000000+AAAA", New: f.vkey, Until: now.Add(-time.Hour), Proof: []byte("x")}, {LogIndex: 7, Old: "keep.example/log+11111111+BBBB", New: f.vkey, Until: now.Add(50 * time.Hour)}}
		}, []string{".facts dd .st.warn | in progress", ".facts div | both keys sign until 2026-11-23 23:40:00Z in 2 d 2 h", ".facts a[href=/ui/log/7] | Entry 7", ".facts div | the proof of which is still to come",
			".facts code | keep.example/log+11111111+BBBB", ".facts div | the old key signs no more since 2026-11-21 20:40:00Z"}},
		"unpublished": {func(f *fakeService) {
			f.evidence.unread = problem.New(problem.Unavailable, "log-unwitnessed", "the log's witnesses have not cosigned it yet")
		}, []string{"p .st.unk | none is published", "section | the log's witnesses have not cosigned it yet", ".facts div | Witnesses not known: their state could not be read", ".facts div | Rotation not known"}},
	} {
		f.evidence = fakeEvidence{}
		f.sampleEvidence()
		tc.change(f)
		doc := openPage(t, f, nobody, "/ui/log")
		for _, line := range tc.has {
			selector, words, _ := strings.Cut(line, " | ")
			if !slices.ContainsFunc(doc.all(selector), func(e *element) bool { return strings.Contains(e.words(), words) }) {
				t.Errorf("%s: nothing fits %s\n%s", name, line, doc.one(t, ".side").words())
			}
		}
	}
}

// TestHealthStates: each bad state says what to do next, and the runbook that
// it leads to has that section.
func TestHealthStates(t *testing.T) {
	frozen := problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database went back behind what was signed").With("signed", "%d leaves", 41207).Suggest("chartkeep log recover")
	broken := problem.New(problem.Unavailable, "database", "the database has no room left on its disk")
	f := newSample(t)
	f.evidence.witnessing.Witnesses, f.evidence.witnessing.MetSize = nil, 21
	f.events = append(f.events, release.AuditRecord{Index: 8812, Event: audit.Event{Name: audit.BackupMade, Time: now.Add(-time.Hour), Detail: map[string]string{"backup": "b-1", "record": "x"}}})
	doc := openPage(t, f, admin, "/ui/health")
	if !doc.one(t, ".badge").fits(".ok") || len(doc.all("main .alarm")) != 0 || !strings.Contains(doc.words(), "Newest backup made 2026-11-21 20:40:00Z 1 h ago backup b-1") {
		t.Fatalf("a server that is well: %s", doc.one(t, "main").words())
	}
	for name, tc := range map[string]struct {
		change func(*fakeService)
		worst  string
		has    string
	}{
		"not ready": {func(f *fakeService) { f.evidence.health.Checks[0].Err = broken }, "bad", "store fails the database has no room left on its disk"},
		"a secret":  {func(f *fakeService) { f.evidence.health.Checks[1].Err = errors.New("/var/lib/x: input/output error") }, "bad", "history fails does not work; the server's log has the cause"},
		"read-only": {func(f *fakeService) {
			f.evidence.health.ReadOnly, f.evidence.health.Kept[0].Size = frozen, 5
		}, "bad", "Writes all refused this registry is read-only"},
		"records gone": {func(f *fakeService) { f.evidence.health.RecordsMissing = true }, "bad", "Records were removed"},
		"not kept": {func(f *fakeService) {
			f.evidence.health.Kept[0].Kept = 3
			f.evidence.health.Jobs[0] = JobState{"keep the log", now, broken}
		}, "bad", "Records of the log of releases behind 3 of 21"},
		"kept unknown":     {func(f *fakeService) { f.evidence.health.Kept[1].Size = -1 }, "unk", "Records of the log of audit events not known"},
		"job":              {func(f *fakeService) { f.evidence.health.Jobs[0].Err = broken }, "bad", "Anchor audit log failed 2026-11-21 20:40:00Z 1 h ago the database has no room left"},
		"never scrubbed":   {func(f *fakeService) { f.evidence.scrub.Last = nil }, "unk", "Last comparison none yet"},
		"scrub unread":     {func(f *fakeService) { f.evidence.scrubErr = broken }, "unk", "Last comparison not known the database has no room left"},
		"scrub overdue":    {func(f *fakeService) { f.evidence.scrub.Due = now.Add(-2 * time.Hour) }, "warn", "Next comparison overdue"},
		"finding":          {func(f *fakeService) { f.find1(release.BytesChanged) }, "bad", "Bytes-changed since 2026-11-21 16:40:00Z 2026-11-21 20:40:00Z 1 h ago the archive of web 1.4.1 has other bytes"},
		"finding, missing": {func(f *fakeService) { f.find1(release.BytesMissing) }, "bad", "Bytes-missing"},
		"alerts":           {func(f *fakeService) { f.evidence.health.Alerts = 2 }, "warn", "Alerts 2 alerts may go on"},
		"many alerts":      {func(f *fakeService) { f.evidence.health.Alerts = AlertsMost }, "warn", "Alerts 100 alerts or more may go on"},
		"alerts unread":    {func(f *fakeService) { f.evidence.health.AlertsErr = broken }, "unk", "Alerts not known"},
		"untold":           {func(f *fakeService) { f.evidence.health.Untold = UntoldMost }, "bad", "Events to be told 10,000 or more wait"},
		"untold unread":    {func(f *fakeService) { f.evidence.health.UntoldErr = broken }, "unk", "Events to be told not known"},
		"no routes":        {func(f *fakeService) { f.evidence.health.Routes = nil }, "unk", "Routes none nobody is told of alerts"},
		"given up": {func(f *fakeService) {
			f.evidence.health.Routes[0].Failed, f.evidence.health.Routes[0].Error = 3, "410 Gone"
		}, "bad", "Route ops 3 messages given up"},
		"waiting": {func(f *fakeService) {
			f.evidence.health.Routes[0].Waiting, f.evidence.health.Routes[0].Error = 1, "refused"
		}, "warn", "Route ops 1 message wait"},
		"never tried":  {func(f *fakeService) { f.evidence.health.Routes[0].LastSuccess = time.Time{} }, "unk", "Route ops never tried"},
		"no log":       {func(f *fakeService) { f.fault = broken }, "unk", "Checkpoint not known"},
		"no witnesses": {func(f *fakeService) { f.evidence.witnessing = nil }, "unk", "Quorum nobody witnesses this log"},
		"witness": {func(f *fakeService) {
			f.witnessed()
			f.evidence.witnessing.Witnesses[0].State, f.evidence.witnessing.Witnesses[0].Refusal = release.WitnessRefusing, release.RefusedAhead
		}, "bad", "a refuses 2026-11-21 21:39:00Z 1 min ago it has cosigned more entries than this log has"},
	} {
		f.evidence, f.fault = fakeEvidence{}, nil
		f.sampleEvidence()
		f.evidence.witnessing.Witnesses, f.evidence.witnessing.MetSize = nil, 21
		tc.change(f)
		doc = openPage(t, f, admin, "/ui/health")
		if badge := doc.one(t, ".title .badge"); !badge.fits("." + tc.worst) {
			t.Errorf("%s: the badge is %v %s", name, badge.attrs, badge.words())
		}
		rows := doc.all("tr")
		if !slices.ContainsFunc(rows, func(e *element) bool { return strings.Contains(e.spaced(), tc.has) }) {
			t.Errorf("%s: no row says %q\n%s", name, tc.has, doc.one(t, "main").words())
		}
		todo := doc.all("section")[0].all("tbody tr")
		if f.evidence.health.ReadOnly != nil {
			todo = doc.all("section")[1].all("tbody tr")
		}
		for _, row := range todo {
			if len(row.all("td")) != 2 || row.all("td")[1].words() == "" {
				t.Errorf("%s: nothing to do about %s", name, row.words())
			}
		}
		if strings.Contains(doc.text, "/var/lib/x") {
			t.Errorf("%s: the page shows a path of the server", name)
		}
		for _, a := range doc.all("a[rel=noreferrer]") {
			section, ok := strings.CutPrefix(a.attrs["href"], "https://runbooks.example/")
			file, anchor, _ := strings.Cut(section, "#")
			text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "runbooks", file))
			if !ok || err != nil || !strings.Contains(string(text), "\n## "+anchor+"\n") {
				t.Errorf("%s: there is no runbook %s", name, a.attrs["href"])
			}
		}
	}
	f.evidence.health.ReadOnly, f.fault = frozen, nil
	doc = openPage(t, f, admin, "/ui/health")
	if got := doc.one(t, ".alarm").words(); !strings.Contains(got, "Signed 41207 leaves") || !strings.Contains(got, "Still works pull") {
		t.Errorf("read-only: %s", got)
	}
}

// spaced is the words of a row, its cells apart.
func (e *element) spaced() string {
	var out []string
	for _, c := range e.children {
		out = append(out, c.words())
	}
	return strings.Join(strings.Fields(strings.Join(out, " ")), " ")
}

func (f *fakeService) find1(kind release.FindingKind) {
	f.evidence.scrub.Open = []release.Finding{{
		Key: "x", Kind: kind, Project: "platform", Chart: "web", Version: "1.4.1", Message: "the archive of web 1.4.1 has other bytes", Try: "restore the blob from a backup", First: now.Add(-5 * time.Hour), Last: now.Add(-time.Hour),
	}}
}

// TestNoHealth: a server that does not look after itself has no such page.
func TestNoHealth(t *testing.T) {
	f := newSample(t)
	d, err := New(f, Config{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	f.door = d
	w := httptest.NewRecorder()
	if err := d.health(w, httptest.NewRequest("GET", "/ui/health", nil)); problem.KindOf(err) != problem.NotFound {
		t.Errorf("got %v", err)
	}
}

// TestMenu: what somebody may not read is not in the menu.
func TestMenu(t *testing.T) {
	expired := callerOf("late", access.Grant{ID: "grn-9", Role: access.RoleAuditor, Project: "*", Expires: now.Add(-time.Second)})
	f := newSample(t)
	for name, tc := range map[string]struct {
		who           release.Caller
		audit, health bool
	}{
		"nobody": {nobody, false, false}, "reader": {reader, false, false}, "manager": {manager, false, false}, "expired": {expired, false, false},
		"owner": {owner, true, false}, "maintainer, auditor": {maintainer, true, false}, "admin": {admin, true, true},
	} {
		menu := openPage(t, f, tc.who, "/ui/projects").one(t, "nav[aria-label=Main]")
		for path, want := range map[string]bool{"/ui/log": true, "/ui/audit": tc.audit, "/ui/health": tc.health} {
			if got := len(menu.all("a[href=" + path + "]")); (got == 1) != want {
				t.Errorf("%s: %d links to %s", name, got, path)
			}
			code := get(t, f, tc.who, path).Code
			if (code == http.StatusOK) != want {
				t.Errorf("%s: %s answers %d", name, path, code)
			}
		}
	}
}
