package history_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func sum(s string) string {
	return "sha256:" + (s + strings.Repeat("0", 64))[:64]
}

var (
	ann    = tlog.Identity{Issuer: "chartkeep", Subject: "usr-ann"}
	bob    = tlog.Identity{Issuer: "chartkeep", Subject: "usr-bob"}
	mirror = tlog.Identity{Issuer: "chartkeep", Subject: "mirror"}
	soft   = sum("a0")
	hard   = sum("a1")
)

// The leaves of the tables. The time is that of the table's clock unless it is
// set.

func project(action, name, state string) tlog.Project {
	return tlog.Project{Action: action, Name: name, Kind: "charts", Visibility: "private", State: state, Policy: soft, Actor: ann}
}

func created(name string) tlog.Project { return project("created", name, "active") }

// released is a leaf for project/chart@version.
func released(ref string) tlog.Release {
	p, c, v := split(ref)
	return tlog.Release{
		Project: p, Chart: c, Version: v, Archive: sum("b0"), Size: 10, Content: sum("b1"),
		Manifest: sum("b2"), Config: sum("b3"), Publisher: ann, Policy: soft,
	}
}

func legacy(ref string) tlog.Legacy { return tlog.Legacy{Release: released(ref), Origin: "old"} }

func mirrored(ref string) tlog.Legacy {
	l := legacy(ref)
	l.Publisher = mirror
	return l
}

func split(ref string) (p, c, v string) {
	name, v, _ := strings.Cut(ref, "@")
	cut := strings.LastIndexByte(name, '/')
	return name[:cut], name[cut+1:], v
}

func yank(index int64, ref string) tlog.Yank {
	p, c, v := split(ref)
	return tlog.Yank{Index: index, Project: p, Chart: c, Version: v, Reason: "broken", Publisher: ann}
}

func unyank(index int64, ref string) tlog.Unyank { return tlog.Unyank(yank(index, ref)) }

func attach(index int64, ref, kind string) tlog.Attach {
	p, c, v := split(ref)
	return tlog.Attach{Index: index, Project: p, Chart: c, Version: v, Kind: kind, Digest: sum("c0"), Publisher: ann}
}

func quarantine(index int64, ref, action string, by tlog.Identity) tlog.Quarantine {
	p, c, v := split(ref)
	return tlog.Quarantine{Index: index, Project: p, Chart: c, Version: v, Action: action, Reason: "malware", Actor: by}
}

func tombstone(index int64, ref string, by, with tlog.Identity) tlog.Tombstone {
	p, c, v := split(ref)
	return tlog.Tombstone{Index: index, Project: p, Chart: c, Version: v, Archive: sum("b0"), Reason: "legal", Requester: by, Approver: with}
}

func policy(before, after, change string, by, with tlog.Identity) tlog.Policy {
	return tlog.Policy{Project: "a", Before: before, After: after, Change: change, Requester: by, Approver: with}
}

func anchor(size int64, root byte) tlog.Audit {
	return tlog.Audit{Origin: "log/audit", Size: size, Root: tlog.Hash{root}}
}

func rotation(old, new string, until time.Duration) tlog.Rotation {
	return tlog.Rotation{Old: "log+0000000" + old, New: "log+0000000" + new, Until: start.Add(until), Actor: ann}
}

// at sets the time of a leaf to some hours after the start.
type at struct {
	tlog.Leaf
	hours float64
}

// entry is the text of a leaf with a time.
func entry(t testing.TB, leaf tlog.Leaf, now time.Time) []byte {
	t.Helper()
	if a, ok := leaf.(at); ok {
		leaf, now = a.Leaf, start.Add(time.Duration(a.hours*float64(time.Hour)))
	}
	switch l := leaf.(type) {
	case raw:
		return []byte(l.text)
	case tlog.Project:
		l.Time, leaf = now, l
		leaf = l
	case tlog.Release:
		l.Time = now
		leaf = l
	case tlog.Legacy:
		l.Time = now
		leaf = l
	case tlog.Attach:
		l.Time = now
		leaf = l
	case tlog.Yank:
		l.Time = now
		leaf = l
	case tlog.Unyank:
		l.Time = now
		leaf = l
	case tlog.Quarantine:
		l.Time = now
		leaf = l
	case tlog.Tombstone:
		l.Time = now
		leaf = l
	case tlog.Policy:
		l.Time = now
		leaf = l
	case tlog.Audit:
		l.Time = now
		leaf = l
	case tlog.Rotation:
		l.Time = now
		leaf = l
	case tlog.Observation:
		l.Time = now
		leaf = l
	}
	b, err := leaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// raw is an entry that is no leaf of ours.
type raw struct {
	tlog.Leaf
	text string
}

type leaves []tlog.Leaf

// with returns a changed copy of a release leaf.
func with[T any](l T, change func(*T)) T {
	change(&l)
	return l
}

// cases are histories and what they break: "index rule first" for each.
var cases = map[string]struct {
	leaves leaves
	want   []string
}{
	"a quiet life": {leaves{created("a"), released("a/web@1.0.0"), released("a/web@1.0.1"), yank(1, "a/web@1.0.0"), unyank(1, "a/web@1.0.0"),
		attach(2, "a/web@1.0.1", "prov"), attach(2, "a/web@1.0.1", "signature"), attach(2, "a/web@1.0.1", "signature"), anchor(3, 1), anchor(3, 1), anchor(9, 2)}, nil},

	"a second leaf":                  {leaves{created("a"), released("a/web@1.0.0"), released("a/web@1.0.0")}, []string{"2 release-second 1"}},
	"a third leaf":                   {leaves{created("a"), released("a/web@1.0.0"), released("a/web@1.0.0"), released("a/web@1.0.0")}, []string{"2 release-second 1", "3 release-second 1"}},
	"the same version elsewhere":     {leaves{created("a"), created("b"), released("a/web@1.0.0"), released("b/web@1.0.0"), released("a/db@1.0.0")}, nil},
	"a second leaf as history":       {leaves{project("created", "a", "importing"), legacy("a/web@1.0.0"), legacy("a/web@1.0.0")}, []string{"2 release-second 1"}},
	"build metadata":                 {leaves{created("a"), released("a/web@1.0.0+x"), released("a/web@1.0.0+y")}, []string{"2 release-build-metadata 1"}},
	"build metadata after none":      {leaves{created("a"), released("a/web@1.0.0"), released("a/web@1.0.0+y")}, []string{"2 release-build-metadata 1"}},
	"none after build metadata":      {leaves{created("a"), released("a/web@1.0.0+x"), released("a/web@1.0.0")}, []string{"2 release-build-metadata 1"}},
	"build metadata of two versions": {leaves{created("a"), released("a/web@1.0.0+x"), released("a/web@1.0.1+x")}, nil},
	"a v before the version":         {leaves{project("created", "a", "importing"), legacy("a/web@v1.0.0"), project("cut-over", "a", "active"), released("a/web@1.0.0")}, []string{"3 release-build-metadata 1"}},
	"build metadata in history":      {leaves{project("created", "a", "importing"), legacy("a/web@1.0.0+x"), legacy("a/web@1.0.0+y"), legacy("a/web@1.0.0"), legacy("a/web@no-version")}, nil},
	"history keeps its identity": {leaves{project("created", "a", "importing"), legacy("a/web@1.0.0+x"), legacy("a/web@1.0.0+y"), project("cut-over", "a", "active"), released("a/web@1.0.0")},
		[]string{"4 release-build-metadata 1"}},
	"one file name for two":  {leaves{created("a"), released("a/foo@1.0.0-2.0.0"), released("a/foo-1.0.0@2.0.0")}, []string{"2 release-file-name 1"}},
	"file names of projects": {leaves{created("a"), created("b"), released("a/foo@1.0.0-2.0.0"), released("b/foo-1.0.0@2.0.0")}, nil},

	"no project":                    {leaves{released("a/web@1.0.0")}, []string{"0 release-project -1"}},
	"a project that comes too late": {leaves{released("a/web@1.0.0"), created("a"), released("a/web@1.0.1")}, []string{"0 release-project -1"}},
	"a project of artifacts":        {leaves{with(created("a"), func(p *tlog.Project) { p.Kind = "artifacts" }), released("a/web@1.0.0")}, []string{"1 release-project 0"}},
	"a removed project": {leaves{created("a"), released("a/web@1.0.0"), project("removed", "a", "removed"), released("a/web@1.0.1"), yank(1, "a/web@1.0.0"), attach(1, "a/web@1.0.0", "prov")},
		[]string{"3 release-project 2", "4 release-project 2", "5 release-project 2"}},
	"a release while importing":   {leaves{project("created", "a", "importing"), released("a/web@1.0.0")}, []string{"1 release-project 0"}},
	"history while importing":     {leaves{project("created", "a", "importing"), legacy("a/web@1.0.0"), project("set", "a", "importing"), legacy("a/web@1.0.1"), project("cut-over", "a", "active"), released("a/web@1.0.2")}, nil},
	"history after the cut-over":  {leaves{project("created", "a", "importing"), legacy("a/web@1.0.0"), project("cut-over", "a", "active"), legacy("a/web@1.0.1")}, []string{"3 release-legacy 2"}},
	"a mirror after the cut-over": {leaves{project("created", "a", "importing"), project("cut-over", "a", "active"), mirrored("a/web@1.0.1")}, []string{"2 release-legacy 1"}},
	"a mirror":                    {leaves{created("a"), mirrored("a/web@1.0.0"), mirrored("a/web@1.0.1")}, nil},
	"a mirror that is none":       {leaves{created("a"), released("a/web@1.0.0"), mirrored("a/web@1.0.1")}, []string{"2 release-legacy 0"}},
	"a mirror with its own":       {leaves{created("a"), mirrored("a/web@1.0.0"), released("a/web@1.0.1")}, []string{"2 release-legacy 0"}},
	"history by hand":             {leaves{created("a"), legacy("a/web@1.0.0")}, []string{"1 release-legacy 0"}},

	"a project twice":              {leaves{created("a"), created("a")}, []string{"1 project-name 0"}},
	"a removed project's name":     {leaves{created("a"), project("removed", "a", "removed"), created("a")}, []string{"2 project-name 0"}},
	"a project below another":      {leaves{created("a"), created("a/b/c")}, []string{"1 project-name 0"}},
	"a project above another":      {leaves{created("a/b/c"), created("a/b/d"), created("a/b")}, []string{"2 project-name 0"}},
	"projects beside each other":   {leaves{created("a/b"), created("a/c"), created("ab"), created("a-b/c")}, nil},
	"a project that is nowhere":    {leaves{project("set", "a", "active"), released("a/web@1.0.0"), created("a/b")}, []string{"0 project-state -1", "2 project-name 0"}},
	"a project removed twice":      {leaves{created("a"), project("removed", "a", "removed"), project("removed", "a", "removed"), project("set", "a", "active")}, []string{"2 project-state 1", "3 project-state 1"}},
	"a second cut-over":            {leaves{project("created", "a", "importing"), project("cut-over", "a", "active"), project("cut-over", "a", "active")}, []string{"2 project-state 1"}},
	"an import that begins anew":   {leaves{created("a"), project("set", "a", "importing")}, []string{"1 project-state 0"}},
	"a project that was born dead": {leaves{project("created", "a", "removed")}, []string{"0 project-state -1"}},
	"artifacts that import":        {leaves{with(project("created", "a", "importing"), func(p *tlog.Project) { p.Kind = "artifacts" })}, []string{"0 project-state -1"}},
	"another kind":                 {leaves{created("a"), with(project("set", "a", "active"), func(p *tlog.Project) { p.Kind = "artifacts" })}, []string{"1 project-state 0"}},

	"time runs back":            {leaves{at{created("a"), 2}, at{released("a/web@1.0.0"), 1}, at{released("a/web@1.0.1"), 2}}, []string{"1 log-time 0"}},
	"time runs back twice":      {leaves{at{created("a"), 2}, at{released("a/web@1.0.0"), 1}, at{released("a/web@1.0.1"), 1.5}}, []string{"1 log-time 0", "2 log-time 0"}},
	"time of what has no rules": {leaves{at{created("a"), 2}, at{tlog.Observation{Upstream: "u", Source: "s", Observed: "seen"}, 1}}, []string{"1 log-time 0"}},
	"an unknown leaf":           {leaves{raw{text: "chartkeep/other/v9\n"}, created("a"), raw{text: ""}, released("a/web@1.0.0")}, nil},
	"a malformed leaf":          {leaves{created("a"), raw{text: "chartkeep/release/v1\nproject a\n"}, released("a/web@1.0.0")}, []string{"1 leaf-malformed -1"}},

	"a yank of nothing":     {leaves{created("a"), yank(0, "a/web@1.0.0"), yank(0, "b/web@1.0.0")}, []string{"1 leaf-subject -1", "2 leaf-subject -1"}},
	"a yank of another":     {leaves{created("a"), released("a/web@1.0.0"), released("a/web@1.0.1"), yank(2, "a/web@1.0.0")}, []string{"3 leaf-subject 1"}},
	"a yank by a file name": {leaves{created("a"), released("a/foo@1.0.0-2.0.0"), yank(1, "a/foo-1.0.0@2.0.0")}, []string{"2 leaf-subject -1"}},
	"a second yank":         {leaves{created("a"), released("a/web@1.0.0"), yank(1, "a/web@1.0.0"), yank(1, "a/web@1.0.0")}, []string{"3 yank-order 2"}},
	"an unyank of nothing":  {leaves{created("a"), released("a/web@1.0.0"), unyank(1, "a/web@1.0.0")}, []string{"2 yank-order -1"}},
	"a second unyank":       {leaves{created("a"), released("a/web@1.0.0"), yank(1, "a/web@1.0.0"), unyank(1, "a/web@1.0.0"), unyank(1, "a/web@1.0.0")}, []string{"4 yank-order 3"}},

	"a provenance of nothing": {leaves{created("a"), attach(0, "a/web@1.0.0", "prov")}, []string{"1 leaf-subject -1"}},
	"a second provenance":     {leaves{created("a"), released("a/web@1.0.0"), attach(1, "a/web@1.0.0", "prov"), attach(1, "a/web@1.0.0", "prov")}, []string{"3 provenance-second 2"}},
	"another provenance":      {leaves{created("a"), with(released("a/web@1.0.0"), func(l *tlog.Release) { l.Provenance = sum("c9") }), attach(1, "a/web@1.0.0", "prov")}, []string{"2 provenance-second 1"}},

	"a quarantine that is confirmed": {leaves{created("a"), released("a/web@1.0.0"), quarantine(1, "a/web@1.0.0", "set", ann), quarantine(1, "a/web@1.0.0", "confirmed", bob), quarantine(1, "a/web@1.0.0", "lifted", ann),
		quarantine(1, "a/web@1.0.0", "set", bob), quarantine(1, "a/web@1.0.0", "lifted", bob)}, nil},
	"a quarantine that lapses":  {leaves{created("a"), released("a/web@1.0.0"), at{quarantine(1, "a/web@1.0.0", "set", ann), 1}, at{quarantine(1, "a/web@1.0.0", "lapsed", bob), 25}}, nil},
	"a quarantine lapses early": {leaves{created("a"), released("a/web@1.0.0"), at{quarantine(1, "a/web@1.0.0", "set", ann), 1}, at{quarantine(1, "a/web@1.0.0", "lapsed", bob), 24.9}}, []string{"3 quarantine-early 2"}},
	"a quarantine set twice":    {leaves{created("a"), released("a/web@1.0.0"), quarantine(1, "a/web@1.0.0", "set", ann), quarantine(1, "a/web@1.0.0", "set", bob)}, []string{"3 quarantine-order 2"}},
	"a quarantine that there is not": {leaves{created("a"), released("a/web@1.0.0"), quarantine(1, "a/web@1.0.0", "confirmed", ann), quarantine(1, "a/web@1.0.0", "lifted", ann), quarantine(1, "a/web@1.0.0", "lapsed", ann)},
		[]string{"2 quarantine-order -1", "4 quarantine-order 3"}},
	"a quarantine by one person":       {leaves{created("a"), released("a/web@1.0.0"), quarantine(1, "a/web@1.0.0", "set", ann), quarantine(1, "a/web@1.0.0", "confirmed", ann)}, []string{"3 quarantine-person 2"}},
	"a confirmed quarantine lapses":    {leaves{created("a"), released("a/web@1.0.0"), quarantine(1, "a/web@1.0.0", "set", ann), quarantine(1, "a/web@1.0.0", "confirmed", bob), at{quarantine(1, "a/web@1.0.0", "lapsed", bob), 30}}, []string{"4 quarantine-order 3"}},
	"a confirmed quarantine confirmed": {leaves{created("a"), released("a/web@1.0.0"), quarantine(1, "a/web@1.0.0", "set", ann), quarantine(1, "a/web@1.0.0", "confirmed", bob), quarantine(1, "a/web@1.0.0", "confirmed", bob)}, []string{"4 quarantine-order 3"}},

	"a tombstone":            {leaves{created("a"), released("a/web@1.0.0"), yank(1, "a/web@1.0.0"), tombstone(1, "a/web@1.0.0", ann, bob), anchor(4, 1), released("a/web@1.0.1")}, nil},
	"a tombstone by one":     {leaves{created("a"), released("a/web@1.0.0"), tombstone(1, "a/web@1.0.0", ann, ann)}, []string{"2 tombstone-person -1"}},
	"a tombstone of another": {leaves{created("a"), released("a/web@1.0.0"), with(tombstone(0, "a/web@1.0.0", ann, bob), func(l *tlog.Tombstone) { l.Archive = sum("bb") })}, []string{"2 leaf-subject 1", "2 leaf-subject 1"}},
	"a tombstone of nothing": {leaves{created("a"), tombstone(0, "a/web@1.0.0", ann, bob)}, []string{"1 leaf-subject -1"}},
	"life after the tombstone": {leaves{created("a"), released("a/web@1.0.0"), tombstone(1, "a/web@1.0.0", ann, bob), tombstone(1, "a/web@1.0.0", ann, bob), yank(1, "a/web@1.0.0"), attach(1, "a/web@1.0.0", "prov"), quarantine(1, "a/web@1.0.0", "set", ann), released("a/web@1.0.0")},
		[]string{"3 tombstone-after 2", "4 tombstone-after 2", "5 tombstone-after 2", "6 tombstone-after 2", "7 release-second 1"}},

	"policies in a chain": {leaves{created("a"), policy(soft, hard, "not-weaker", ann, tlog.Identity{}), with(released("a/web@1.0.0"), func(l *tlog.Release) { l.Policy = hard }), with(project("set", "a", "active"), func(l *tlog.Project) { l.Policy = hard }),
		policy(hard, soft, "weaker", ann, bob), released("a/web@1.0.1")}, nil},
	"a policy that is not in force":             {leaves{created("a"), with(released("a/web@1.0.0"), func(l *tlog.Release) { l.Policy = hard })}, []string{"1 release-policy 0"}},
	"a policy after its change":                 {leaves{created("a"), policy(soft, hard, "not-weaker", ann, tlog.Identity{}), released("a/web@1.0.0")}, []string{"2 release-policy 1"}},
	"a policy from nowhere":                     {leaves{created("a"), policy(hard, soft, "not-weaker", ann, tlog.Identity{})}, []string{"1 policy-chain 0"}},
	"a policy of no project":                    {leaves{policy(soft, hard, "not-weaker", ann, tlog.Identity{})}, []string{"0 project-state -1"}},
	"a policy of a removed project":             {leaves{created("a"), project("removed", "a", "removed"), policy(soft, hard, "not-weaker", ann, tlog.Identity{})}, []string{"2 project-state 1"}},
	"a weaker policy, unasked":                  {leaves{created("a"), released("a/web@1.0.0"), policy(soft, hard, "weaker", ann, tlog.Identity{})}, []string{"2 policy-person -1"}},
	"a weaker policy by one person":             {leaves{created("a"), released("a/web@1.0.0"), policy(soft, hard, "weaker", ann, ann)}, []string{"2 policy-person -1"}},
	"a weaker policy before there is a release": {leaves{created("a"), policy(soft, hard, "weaker", ann, tlog.Identity{})}, nil},
	"a policy that changes without a leaf":      {leaves{created("a"), with(project("set", "a", "active"), func(l *tlog.Project) { l.Policy = hard })}, []string{"1 policy-chain 0"}},
	"a policy that goes back without a leaf":    {leaves{created("a"), policy(soft, hard, "not-weaker", ann, tlog.Identity{}), project("set", "a", "active")}, []string{"2 policy-chain 1"}},

	"keys in a chain":        {leaves{created("a"), rotation("1", "2", time.Hour), rotation("2", "3", 2*time.Hour)}, nil},
	"a key that is not ours": {leaves{rotation("1", "2", time.Hour), rotation("1", "3", time.Hour)}, []string{"1 rotation-chain 0"}},
	"a key that comes back":  {leaves{rotation("1", "2", time.Hour), rotation("2", "1", time.Hour)}, []string{"1 rotation-chain -1"}},
	"a key that ended":       {leaves{at{rotation("1", "2", time.Hour), 2}}, []string{"0 rotation-chain -1"}},
	"a key of another log":   {leaves{with(rotation("1", "2", time.Hour), func(l *tlog.Rotation) { l.New = "gol+00000002" })}, []string{"0 rotation-chain -1"}},

	"audit shrinks":         {leaves{anchor(5, 1), anchor(4, 1), anchor(5, 1)}, []string{"1 audit-anchor 0"}},
	"audit is written anew": {leaves{anchor(5, 1), anchor(5, 2)}, []string{"1 audit-anchor 0"}},
	"another audit log":     {leaves{anchor(5, 1), with(anchor(6, 1), func(l *tlog.Audit) { l.Origin = "other" })}, []string{"1 audit-anchor 0"}},
}

func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := replay(t, history.New(), c.leaves)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
		for _, w := range c.want {
			seen[strings.Fields(w)[1]] = true
		}
	}
	for _, rule := range history.Rules() {
		if !seen[rule] && rule != history.RuleOrder && rule != history.RuleSigner { // have tests of their own
			t.Errorf("no case breaks %s", rule)
		}
		delete(seen, rule)
	}
	if len(seen) > 0 {
		t.Errorf("rules that are not listed: %v", seen)
	}
}

// replay adds leaves and returns what they break.
func replay(t testing.TB, r *history.Replay, list leaves) []string {
	t.Helper()
	var got []string
	for _, leaf := range list {
		for _, v := range r.Add(r.Size(), entry(t, leaf, maxTime(r.Time(), start))) {
			got = append(got, fmt.Sprint(v.Index, " ", v.Rule, " ", v.First))
			if v.Message == "" || v.Subject == "" || strings.HasSuffix(v.Message, ".") {
				t.Errorf("a violation says nothing: %v", v)
			}
		}
	}
	return got
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// TestStateGoesOn writes and reads the state behind each leaf of each case:
// what follows breaks the same rules.
func TestStateGoesOn(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for cut := range c.leaves {
				r := history.New()
				got := replay(t, r, c.leaves[:cut])
				var b bytes.Buffer
				n, err := r.WriteTo(&b)
				if err != nil || n != int64(b.Len()) {
					t.Fatal(n, b.Len(), err)
				}
				text := bytes.Clone(b.Bytes())
				again, err := history.Read(&b)
				if err != nil {
					t.Fatal(err)
				}
				var second bytes.Buffer
				if _, err := again.WriteTo(&second); err != nil || !bytes.Equal(text, second.Bytes()) {
					t.Fatalf("the state has two spellings: %v", err)
				}
				got = append(got, replay(t, again, c.leaves[cut:])...)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("violations when taken up at %d (-want +got):\n%s", cut, diff)
				}
			}
		})
	}
}

func TestOrder(t *testing.T) {
	r := history.New()
	leaf := entry(t, created("a"), start)
	if v := r.Add(1, leaf); len(v) != 1 || v[0].Rule != history.RuleOrder {
		t.Errorf("a gap: %v", v)
	}
	if v := r.Add(0, entry(t, created("b"), start)); len(v) != 1 || v[0].Rule != history.RuleOrder {
		t.Errorf("a step back: %v", v)
	}
	if _, ok := r.Project("b"); ok || r.Size() != 2 {
		t.Error("a leaf was replayed in the wrong place")
	}
}

func TestSigned(t *testing.T) {
	r := history.New()
	if v := r.Signed("log+00000009"); v != nil {
		t.Errorf("without a rotation: %v", v)
	}
	replay(t, r, leaves{rotation("1", "2", 2*time.Hour)})
	rules := func(keys ...string) (out []string) {
		for _, v := range r.Signed(keys...) {
			out = append(out, fmt.Sprint(v.Rule, " ", v.Index))
		}
		return out
	}
	for name, c := range map[string]struct {
		keys []string
		want []string
	}{
		"both":  {[]string{"log+00000001", "log+00000002"}, nil},
		"new":   {[]string{"log+00000002"}, nil},
		"old":   {[]string{"log+00000001"}, []string{"rotation-signer 0"}},
		"other": {[]string{"log+00000005"}, []string{"rotation-signer 0"}},
	} {
		if diff := cmp.Diff(c.want, rules(c.keys...)); diff != "" {
			t.Errorf("%s, in the overlap:\n%s", name, diff)
		}
	}
	replay(t, r, leaves{at{created("a"), 3}})
	if diff := cmp.Diff([]string{"rotation-signer 1"}, rules("log+00000001", "log+00000002")); diff != "" {
		t.Errorf("both, after the old one ended:\n%s", diff)
	}
	if got := rules("log+00000002"); got != nil {
		t.Errorf("the new one: %v", got)
	}
	keys := r.Keys()
	if len(keys) != 2 || keys[0].Verifier != "log+00000001" || !keys[1].Until.IsZero() {
		t.Errorf("keys: %v", keys)
	}
}

// TestSays reads what the history says of releases and projects.
func TestSays(t *testing.T) {
	r := history.New()
	replay(t, r, leaves{
		created("a"), project("created", "b/c", "importing"),
		with(released("a/web@1.0.0"), func(l *tlog.Release) { l.Provenance = sum("c9") }),
		released("a/web@1.0.1+x"), legacy("b/c/web@1.0.0"), released("a/db@2.0.0"), released("a/db@3.0.0"),
		yank(3, "a/web@1.0.1+x"), quarantine(5, "a/db@2.0.0", "set", ann), quarantine(5, "a/db@2.0.0", "confirmed", bob),
		tombstone(6, "a/db@3.0.0", ann, bob), attach(4, "b/c/web@1.0.0", "prov"), raw{text: "x"}, raw{text: "chartkeep/yank/v1\n"},
	})
	for ref, want := range map[string]history.Release{
		"a/web@1.0.0":   {Index: 2, Changed: 2, Archive: sum("b0"), Provenance: true},
		"a/web@1.0.1+x": {Index: 3, Changed: 7, Archive: sum("b0"), Yanked: true},
		"b/c/web@1.0.0": {Index: 4, Changed: 4, Archive: sum("b0"), Legacy: true, Provenance: true},
		"a/db@2.0.0":    {Index: 5, Changed: 9, Archive: sum("b0"), Quarantined: true, Confirmed: true},
		"a/db@3.0.0":    {Index: 6, Changed: 10, Archive: sum("b0"), Tombstoned: true},
	} {
		p, c, v := split(ref)
		got, ok := r.Release(p, c, v)
		if !ok || !got.HasManifest(sum("b2")) || got.HasManifest(sum("b3")) {
			t.Errorf("%s: %v, with another manifest", ref, ok)
		}
		if got.Hidden() != (got.Yanked || got.Withheld()) || got.Withheld() != (p == "a" && c == "db") {
			t.Errorf("%s: hidden %v, withheld %v", ref, got.Hidden(), got.Withheld())
		}
		if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".manifest" }, cmp.Ignore())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
	}
	for _, ref := range []string{"a/web@1.0.1", "a/web@1.0.2", "c/web@1.0.0", "b/c/web@1.0.1"} {
		p, c, v := split(ref)
		if got, ok := r.Release(p, c, v); ok {
			t.Errorf("%s: %v", ref, got)
		}
	}
	var got []history.Project
	for p := range r.Projects() {
		got = append(got, p)
	}
	want := []history.Project{
		{Name: "a", Kind: "charts", State: "active", Policy: soft, Releases: 4, Hidden: 3},
		{Name: "b/c", Kind: "charts", State: "importing", Policy: soft, Created: 1, Releases: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
	if p, ok := r.Project("b/c"); !ok || p != want[1] {
		t.Errorf("project: %v %v", p, ok)
	}
	if _, ok := r.Project("b"); ok {
		t.Error("there is no project b")
	}
	if r.Releases() != 5 || r.Unknown() != 2 || r.Size() != 14 || !r.Time().Equal(start) {
		t.Errorf("%d releases, %d unknown, %d leaves, %s", r.Releases(), r.Unknown(), r.Size(), r.Time())
	}
}
