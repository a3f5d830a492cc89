package advisory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func day(y int, m time.Month, d, h int) time.Time { return time.Date(y, m, d, h, 0, 0, 0, time.UTC) }

func TestReadOSV(t *testing.T) {
	p, faults := mustImport(t, OSV, fixtures(t, OSV)...)
	if got, want := flaw(faults), `github.json:24 is not published: its state is "draft"
github.json:25 GHSA-gggg-hhhh-iiii vulnerabilities has a range of versions that cannot be read, "everything since spring": all count as affected`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	db, _ := NewDatabase(nil, p.With(Snapshot{Feed: "own"}))
	want := []*Advisory{
		{
			ID: "EX-2026-0001", Aliases: []string{"CVE-2026-10001", "GHSA-xxxx-yyyy-zzzz"}, Feed: "own",
			Summary:   "Requests leave the folder of “web”",
			Details:   "A path with `..` is followed.\n\nSet `strict: true`.",
			Published: day(2026, 3, 1, 9).Add(30*time.Minute + 500*time.Millisecond), Modified: day(2026, 3, 2, 10),
			Severity: []Score{{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
			Affected: []Affected{{
				Component: Component{"Go", "example.org/web"},
				Severity:  []Score{{"CVSS_V4", "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}},
				Ranges:    []Range{{"SEMVER", []RangeEvent{{Introduced: "0"}, {Fixed: "1.4.2"}, {Introduced: "2.0.0"}, {LastAffected: "2.0.3"}}}},
				Versions:  []string{"1.4.0", "1.4.1"},
			}},
			References: []string{"https://example.org/advisories/1", "https://www.cisa.gov/known-exploited-vulnerabilities-catalog?field_cve=CVE-2026-10001"},
			KEVLinked:  true, Rating: "medium",
		},
		{
			ID: "GHSA-aaaa-bbbb-cccc", Aliases: []string{"CVE-2026-10002"}, Feed: "own",
			Summary: "The chart web gives its pods the right to read all secrets", Details: "Until 1.4.2 the ClusterRole names `*`.",
			Published: day(2026, 2, 1, 0), Modified: day(2026, 2, 3, 0),
			Severity: []Score{{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:N/A:N"}},
			Affected: []Affected{
				{Component: Component{EcosystemHelm, "web"}, Ranges: []Range{{"ECOSYSTEM", []RangeEvent{{Introduced: "1.0.0"}, {Fixed: "1.4.2"}}}}},
				{Component: Component{"PyPI", "web-tools"}, Ranges: []Range{{"ECOSYSTEM", []RangeEvent{{Introduced: "0"}, {Fixed: "3"}}}}},
			},
			References: []string{"https://github.com/example/charts/security/advisories/GHSA-aaaa-bbbb-cccc"}, Rating: "high",
		},
		{
			ID: "GHSA-gggg-hhhh-iiii", Feed: "own", Modified: day(2026, 2, 4, 0),
			Affected: []Affected{{Component: Component{EcosystemHelm, "web"}, Ranges: everything()}},
		},
	}
	if d := cmp.Diff(want, db.Advisories()); d != "" {
		t.Error(d)
	}
	if !p.Snapshot().Dated.Equal(day(2026, 3, 2, 10)) {
		t.Errorf("dated %s", p.Snapshot().Dated)
	}
}

// What cannot be read of the versions of a component is: all of them.
func TestAffectedInDoubt(t *testing.T) {
	all := Affected{Component: Component{"Go", "x"}, Ranges: everything()}
	with := func(events ...RangeEvent) Affected {
		return Affected{Component: Component{"Go", "x"}, Ranges: []Range{{"SEMVER", events}}}
	}
	zero := RangeEvent{Introduced: "0"}
	for _, c := range []struct {
		name, members string
		want          Affected
		fault         string
	}{
		{"plain", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2"}]}]`, with(zero, RangeEvent{Fixed: "2"}), ""},
		{"two events in one", `"ranges":[{"type":"SEMVER","events":[{"fixed":"2","introduced":"0"}]}]`, with(zero, RangeEvent{Fixed: "2"}), ""},
		{"limit", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"limit":"2"}]}]`, with(zero, RangeEvent{Limit: "2"}), ""},
		{"commits only", `"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]`, Affected{Component: all.Component}, ""},
		{"type that is not known", `"ranges":[{"type":"NEW","events":[{"introduced":"0"}]}]`, Affected{Component: all.Component, Ranges: []Range{{"NEW", []RangeEvent{zero}}}}, ""},
		{"null", `"ranges":null,"versions":["1"]`, Affected{Component: all.Component, Versions: []string{"1"}}, ""},
		{"severity of another type", `"severity":7,"versions":["1"]`, Affected{Component: all.Component, Versions: []string{"1"}}, "affected.severity is a number where a list belongs"},

		{"number as version", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":2}]}]`, all, "affected.ranges.events.fixed is a number where a text belongs"},
		{"empty version", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":""}]}]`, all, "affected.ranges.events.fixed is no version"},
		{"event that is not known", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"mended":"1"}]}]`, all, "no known kind"},
		{"nothing introduces", `"ranges":[{"type":"SEMVER","events":[{"fixed":"1"}]}]`, all, "nothing introduces"},
		{"no type", `"ranges":[{"events":[{"introduced":"1"}]}]`, all, "without a type"},
		{"ranges is a text", `"ranges":"<2","versions":["1"]`, all, "affected.ranges is a text where a list belongs"},
		{"ranges twice", `"ranges":[],"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2"}]}]`, all, "affected.ranges is there twice"},
		{"versions of numbers", `"versions":[1.10]`, all, "affected.versions is a number where a text belongs"},

		{"GitHub's last known, at", `"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}],"database_specific":{"last_known_affected_version_range":"<= 3.10.2"}`,
			Affected{Component: all.Component, Ranges: []Range{{"ECOSYSTEM", []RangeEvent{zero, {LastAffected: "3.10.2"}}}}}, ""},
		{"GitHub's last known, before", `"database_specific":{"last_known_affected_version_range":"< 3"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]`,
			Affected{Component: all.Component, Ranges: []Range{{"ECOSYSTEM", []RangeEvent{zero, {Limit: "3"}}}}}, ""},
		{"GitHub's last known beside a fix", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2"}]}],"database_specific":{"last_known_affected_version_range":"<= 1.9"}`,
			with(zero, RangeEvent{Fixed: "2"}), ""},
		{"GitHub's last known is something else", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"database_specific":{"last_known_affected_version_range":"<= 2.x"}`, with(zero), ""},
		{"of another type", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"database_specific":[],"ecosystem_specific":7`, with(zero), ""},

		{"Go's own ranges instead", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"custom_ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.4.0"}]}]}`,
			Affected{Component: all.Component, Ranges: []Range{{"ECOSYSTEM", []RangeEvent{zero, {Fixed: "2.4.0"}}}}}, ""},
		{"Go's own ranges beside", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1"}]}],"ecosystem_specific":{"custom_ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"2"}]}]}`,
			Affected{Component: all.Component, Ranges: []Range{{"SEMVER", []RangeEvent{zero, {Fixed: "1"}}}, {"ECOSYSTEM", []RangeEvent{{Introduced: "2"}}}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, faults := readOSV(`{"id":"A","affected":[{"package":{"ecosystem":"Go","name":"x"},` + c.members + `}]}`)
			if a == nil || len(a.Affected) != 1 {
				t.Fatalf("%+v %v", a, faults)
			}
			if d := cmp.Diff(c.want, a.Affected[0]); d != "" {
				t.Error(d)
			}
			if got := strings.Join(faults, "; "); !strings.Contains(got, c.fault) || c.fault == "" && got != "" {
				t.Errorf("faults %q, want %q", got, c.fault)
			}
		})
	}
}

func TestOSVMembers(t *testing.T) {
	for _, c := range []struct{ name, members, fault string }{
		{"withdrawn", `"withdrawn":"2026-01-01T00:00:00Z"`, ""},
		{"withdrawn at no time", `"withdrawn":"soon"`, `withdrawn "soon" is no time`},
		{"zero times", `"modified":"0001-01-01T00:00:00Z","published":"0001-01-01T00:00:00Z"`, ""},
		{"aliases is a text", `"aliases":"CVE-2026-1"`, "aliases is a text where a list belongs"},
		{"alias with a line", `"aliases":["a\nb"]`, `aliases "a\nb" is no id`},
		{"details is a list", `"details":[]`, "details is a list where a text belongs"},
		{"component without a name", `"affected":[{"package":{"ecosystem":"Go"}}]`, "without its ecosystem or its name"},
		{"commits of a repository", `"affected":[{"ranges":[{"type":"GIT","repo":"x","events":[{"introduced":"0"}]}]}]`, ""},
		{"members that are not known", `"future":{"a":[1,2.5e-3,true,false,null,"\u00e9\ud83d\ude00\ud800"]}`, ""},
	} {
		a, faults := readOSV(`{"id":"A",` + c.members + `}`)
		if a == nil || len(a.Affected) > 0 || !a.Modified.IsZero() || a.Withdrawn.IsZero() != (c.name != "withdrawn") {
			t.Errorf("%s: %+v", c.name, a)
		}
		if got := strings.Join(faults, "; "); !strings.Contains(got, c.fault) || c.fault == "" && got != "" {
			t.Errorf("%s: faults %q, want %q", c.name, got, c.fault)
		}
	}
	a, _ := readOSV(`{"id":"A","details":"` + strings.Repeat("é", maxDetails) + `","summary":"` + strings.Repeat("ab", maxSummary) + `"}`)
	if len(a.Details) != maxDetails || len(a.Summary) != maxSummary || !strings.HasSuffix(a.Details, "é") {
		t.Errorf("%d bytes of details, %d of summary", len(a.Details), len(a.Summary))
	}
	for s, want := range map[string]string{"LOW": "low", "Moderate": "medium", "Important": "high", "CRITICAL": "critical", "None": "none", "Unknown": "", "": ""} {
		if got := rating(s); got != want {
			t.Errorf("%s is %q, want %q", s, got, want)
		}
	}
	for url, want := range map[string]bool{
		"https://www.cisa.gov/known-exploited-vulnerabilities-catalog?search_api_fulltext=CVE-2024-23897": true,
		"http://CISA.gov/known-exploited-vulnerabilities-catalog":                                         true,
		"https://example.org/?u=cisa.gov/known-exploited-vulnerabilities-catalog":                         false,
		"https://www.cisa.gov/news-events/alerts":                                                         false,
		"cisa.gov/known-exploited-vulnerabilities-catalog":                                                false,
	} {
		if linksKEV(url) != want {
			t.Errorf("%s: want %v", url, want)
		}
	}
}

func TestVersionRanges(t *testing.T) {
	all := "0"
	for _, c := range []struct{ versions, patched, want string }{
		{"< 1.4.2", "1.4.2", "0 !1.4.2"},
		{"<= 1.4.1", "1.4.2", "0 !1.4.2"},
		{"<= 1.4.1", "", "0 =1.4.1"},
		{"<= 1.4.1", ">= 1.4.2", "0 !1.4.2"},
		{">= 1.0, < 2.0", "", "1.0 !2.0"},
		{">=1.0,<2.0", "2.1", "1.0 !2.0"},
		{">= 1.0 < 2.0", "", "1.0 !2.0"},
		{"> 1.0", "", "1.0"},
		{"= 1.0", "", "1.0 =1.0"},
		{"1.0.0-rc.1", "", "1.0.0-rc.1 =1.0.0-rc.1"},
		{"v1.0", "v1.1", "v1.0 !v1.1"},
		{"< 1.2 || >= 2.0, < 2.3", "", "0 !1.2; 2.0 !2.3"},
		{"<= 1.2 || <= 2.3, >= 2.0", "1.3", "0 =1.2; 2.0 =2.3"},
		{"", "", all},
		{"all versions", "None", all},
		{"*", "3.0", "0 !3.0"},
		{"1.0.0 - 2.0.0", "", ""},
		{"2.x", "", ""},
		{"~1.2", "", ""},
		{">= 1.0 and < 2.0", "", ""},
		{"< 1.0, < 2.0", "", ""},
		{"<", "", ""},
		{"before the summer", "", ""},
	} {
		ranges, ok := versionRanges(c.versions, c.patched)
		var got []string
		for _, r := range ranges {
			var events []string
			for _, e := range r.Events {
				s := e.Introduced
				if e.Fixed != "" {
					s += "!" + e.Fixed
				}
				if e.LastAffected != "" {
					s += "=" + e.LastAffected
				}
				events = append(events, s)
			}
			got = append(got, strings.Join(events, " "))
		}
		if s := strings.Join(got, "; "); s != c.want || ok != (c.want != "") {
			t.Errorf("%q patched %q: %q, want %q", c.versions, c.patched, s, c.want)
		}
	}
}

func TestGitHubPackages(t *testing.T) {
	for given, want := range map[string]string{
		`"helm"`: "Helm", `"other"`: "Helm", `""`: "Helm", `null`: "Helm", `"npm"`: "npm", `"pip"`: "PyPI", `"go"`: "Go", `"Maven"`: "Maven", `"rust"`: "crates.io",
		`"composer"`: "Packagist", `"actions"`: "GitHub Actions", `"nuget"`: "NuGet", `"rubygems"`: "RubyGems", `"erlang"`: "Hex", `"pub"`: "Pub", `"swift"`: "SwiftURL", `"vcpkg"`: "vcpkg",
	} {
		osv, faults := fromGitHub(`{"ghsa_id":"GHSA-x","vulnerabilities":[{"package":{"ecosystem":` + given + `,"name":"a"},"vulnerable_version_range":"< 2","first_patched_version":"2"}],"cvss_severities":{"cvss_v4":{"vector_string":"CVSS:4.0/x"}}}`)
		a, _ := readOSV(osv)
		if a == nil || len(faults) > 0 || len(a.Affected) != 1 || a.Affected[0].Component != (Component{want, "a"}) || a.Severity[0].Type != "CVSS_V4" {
			t.Errorf("%s: %s %v", given, osv, faults)
		}
	}
	for text, want := range map[string]string{
		`{"ghsa_id":"GHSA-x","vulnerabilities":[{"package":{"ecosystem":"other"},"vulnerable_version_range":"< 2"}]}`: "vulnerabilities names no package",
		`{"ghsa_id":"GHSA-x","vulnerabilities":[{"vulnerable_version_range":"< 2"}]}`:                                 "vulnerabilities names no package",
		`{"ghsa_id":"GHSA-x","vulnerabilities":"all"}`:                                                                "vulnerabilities is a text where a list belongs",
		`{"ghsa_id":"GHSA-x","state":"closed"}`:                                                                       `is not published: its state is "closed"`,
		`{"ghsa_id":7}`:                                                                                               "ghsa_id is a number where a text belongs",
	} {
		if _, faults := fromGitHub(text); strings.Join(faults, "; ") != want {
			t.Errorf("%s: %v", text, faults)
		}
	}
}

// Every record of the corpus is read without a fault, and says what the records
// were counted to say when they were collected.
func TestCorpusOSV(t *testing.T) {
	b := NewBuilder(OSV, DefaultLimits())
	for _, feed := range []string{"bitnami-vulndb", "go-osv", "ghsa"} {
		addFolder(t, b, charttest.Corpus(t, "advisories/"+feed))
	}
	p, faults, err := b.Pack()
	if err != nil || len(faults) > 0 || p.Snapshot().Records != 964 {
		t.Fatalf("%+v %v\n%s", p.Snapshot(), err, flaw(faults))
	}
	db, bad := NewDatabase(nil, p)
	counts := map[string]int{}
	for _, a := range db.Advisories() {
		counts["aliases"] += len(a.Aliases)
		counts["references"] += len(a.References)
		if a.Rating != "" {
			counts["rated"]++
		}
		if a.KEVLinked {
			counts["kev"]++
		}
		for _, x := range a.Affected {
			counts["affected"]++
			counts["severity"] += len(x.Severity)
			if len(x.Ranges) == 0 {
				t.Errorf("%s has no range", a.ID)
			}
		}
	}
	want := map[string]int{"aliases": 1171, "references": 5664, "rated": 748, "affected": 1141, "severity": 747, "kev": 4}
	if d := cmp.Diff(want, counts); d != "" || len(bad) > 0 {
		t.Error(d, bad)
	}
	for component, records := range map[Component]int{{"Bitnami", "airflow"}: 132, {"Bitnami", "redis"}: 47, {"Bitnami", "postgresql"}: 58} {
		if got := len(db.components[component]); got != records || !db.Covers(component) {
			t.Errorf("%s has %d records, want %d", component, got, records)
		}
	}
	helm, ok := db.Advisory("CVE-2022-23524")
	ids := func(list []*Advisory) (out []string) {
		for _, a := range list {
			out = append(out, a.ID)
		}
		return out
	}
	if !ok || !slices.Contains(ids(db.Named("CVE-2022-23524")), "GHSA-6rx9-889q-vv2r") || helm != db.Named("CVE-2022-23524")[0] {
		t.Errorf("CVE-2022-23524: %v", ids(db.Named("CVE-2022-23524")))
	}
	if a, ok := db.Advisory("BIT-airflow-2024-39863"); !ok || a.CVE() != "CVE-2024-39863" {
		t.Errorf("%+v", a)
	}
}

func addFolder(t testing.TB, b *Builder, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return b.Add(path, f)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The example of docs/advisories.md is an advisory that can be imported.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/examples/chart-advisory.json")
	if err != nil {
		t.Fatal(err)
	}
	p, faults := mustImport(t, OSV, input{"chart-advisory.json", string(text)})
	if len(faults) > 0 {
		t.Fatal(flaw(faults))
	}
	db, _ := NewDatabase(Curated(), p)
	a, ok := db.Advisory("EXAMPLE-2026-0001")
	if !ok || a.Rating != "high" || a.Workaround == "" || len(a.Severity) != 1 || len(a.Affected) != 1 {
		t.Fatalf("%+v", a)
	}
	home := []string{"https://charts.example.com/platform"}
	for version, open := range map[string]bool{"1.3.9": false, "1.4.0": true, "1.6.1": true, "1.6.2": false, "2.0.0": true, "2.1.0": false} {
		found := db.MatchChart(home, "web", version)
		if (len(found) == 1 && found[0].Doubt == "") != open {
			t.Errorf("web %s: %+v, want open %v", version, found, open)
		}
	}
}

func FuzzOSV(f *testing.F) {
	for _, in := range fixtures(f, OSV) {
		f.Add([]byte(in.text))
	}
	f.Add(generated(1))
	f.Add([]byte(`{"id":"A","affected":[{"package":{"ecosystem":"Go","name":"x"},"versions":["1"],"ranges":[{"type":"X","events":[{"limit":"*"}]}]}]}`))
	f.Add([]byte(`{"id":"A\u0041","aliases":["\ud83d\ude00","\ud800x"],"id":"B"}`))
	lim := Limits{Record: 64 << 10, File: 256 << 10, Import: 1 << 20, Kept: 256 << 10, Records: 1000, Files: 100}
	f.Fuzz(func(t *testing.T, in []byte) { roundTrip(t, OSV, lim, in) })
}
