package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/notes"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata/golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

var (
	noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	some = "sha256:" + strings.Repeat("5a", 32)
	more = "sha256:" + strings.Repeat("c3", 32)
)

// sampleResults has each kind of result, with foreign text that must not reach
// a terminal as it is.
func sampleResults() []result {
	rel := client.Release{
		Project: "team-a/demo", Chart: "web", Version: "1.4.2", Tag: "1.4.2", File: "web-1.4.2.tgz", Digest: some, Size: 51613,
		ContentDigest: more, Manifest: some, Config: more, Publisher: "usr-1", PublisherName: "ci-web", Door: "api",
		Time: noon, LogIndex: 8121, State: "active",
	}
	yanked := rel
	yanked.State, yanked.Version, yanked.Provenance = "yanked", "1.4.1", more
	yanked.Yank = &client.Yank{Reason: "broken", Text: "loses\x1b[2J its data", By: "usr-1", ByName: "ann", Time: noon, LogIndex: 8122}
	legacy := rel
	legacy.Version, legacy.Legacy = "v0.9", true
	project := client.Project{Name: "team-a/demo", Kind: "charts", Public: true, State: "active", Policy: client.Policy{RequireProvenance: true}, PolicyDigest: some, ArtifactHubID: "6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50", Generation: 7, Changed: noon, Created: noon, CreatedBy: "usr-1"}
	account := client.Account{ID: "usr-1", Name: "ann", Kind: "user", Created: noon}
	grant := client.Grant{ID: "grn-1", Role: "publisher", Project: "team-a/*", Chart: "web*", Versions: "prerelease", Expires: noon.AddDate(0, 3, 0)}
	wide := client.Grant{ID: "grn-2", Role: "reader", Project: "*"}
	token := client.Token{ID: "tok-1", Name: "pipeline", Account: "ann", Grants: []client.Grant{grant, wide}, Created: noon, Expires: noon.AddDate(0, 3, 0), LastUsed: noon}
	ended, unused := token, token
	ended.Revoked, unused.LastUsed, unused.Expires, unused.Name = noon, time.Time{}, noon, ""
	index := int64(4)
	push := pushed{
		Project: "team-a/demo", Chart: "web", Version: "1.4.2", Digest: some, ContentDigest: more, LogIndex: 8121,
		State: "active", Size: 51613, Manifest: some, Provenance: more, File: "dist/web-1.4.2.tgz", Proof: "c2sp.org/tlog-proof@v1\n…\n",
	}
	same := push
	same.Unchanged = true
	audit := client.AuditRecord{Index: 12, ID: "evt-1", Time: noon, Event: "release.refused.overwrite", Action: "chart.push", Door: "oci", Reason: "", Detail: map[string]string{"offered": more}}
	audit.Actor.Kind, audit.Actor.ID, audit.Actor.Name = "user", "usr-1", "ann"
	audit.Resource.Project, audit.Resource.Chart, audit.Resource.Version = "team-a/demo", "web", "1.4.2"
	audit.Outcome.Result, audit.Outcome.Rule, audit.Outcome.Status = "denied", "overwrite", 409
	checks := []client.Check{
		{Name: client.CheckDigest, Result: client.Pass, Detail: "the bytes are those of the log entry"},
		{Name: client.CheckInclusion, Result: client.Fail, Detail: "the proof does not lead from entry 8121 to the checkpoint of 9000 entries"},
		{Name: client.CheckSignature, Result: client.Unchecked, Detail: "no log key was given"},
	}
	logged := &client.Logged{
		Type: "chartkeep/legacy/v1", Project: "team-a/demo", Chart: "web", Version: "v0.9", Digest: some, Size: 12, ContentDigest: more,
		Publisher: "usr-1", Time: noon, Origin: "log.example.test", Index: 8121, LogSize: 9000, SeenAt: "https://old.example.test/web-0.9.tgz", SeenDigest: some,
	}
	return append(append(append(append(judgeResults(), protectResults()...), monitorResults()...), custodyResults()...), []result{
		holderList{"demo", []client.Holder{
			{Kind: "account", Name: "ann", Grant: grant, Given: noon}, {Kind: "account", Name: "bob", Disabled: true, Grant: wide, Given: noon}, {Kind: "group", Name: "deve\x1b[2Jlopers", Grant: wide, Given: noon},
			{Kind: "token", Name: "pipeline", Grant: wide, Given: noon, Token: &client.HeldToken{ID: "tok-1", Account: "ann", Expires: noon.AddDate(0, 1, 0)}},
			{Kind: "token", Name: "mine", Grant: grant, Given: noon, Token: &client.HeldToken{ID: "tok-2", Account: "ann", Personal: true, Expires: noon.AddDate(1, 0, 0), LastUsed: noon}},
		}},
		buildInfo{daemon.Build{Version: "v1.0.0", Commit: "0123abcd", Time: "2026-03-02T12:00:00Z", Modified: true, Go: "go1.26.8", Platform: "linux/amd64"}},
		projectResult{project}, projectList{[]client.Project{project}},
		done{"project-removed/v1", "demo", "removed", "not needed"},
		accountResult{account}, accountList{[]client.Account{account, {ID: "usr-2", Name: "bob", Kind: "user", Disabled: true, Created: noon}}},
		done{form: "account-disabled/v1", Name: "bob", Change: "disabled"},
		done{form: "account-password/v1", Name: "bob", Change: "has a new password"},
		grantResult{client.AccountGrant{Account: "ann", Grant: grant}}, grantList{[]client.AccountGrant{{Account: "ann", Grant: grant}, {Account: "bob", Grant: wide}}},
		done{form: "grant-revoked/v1", Name: "grn-1", Change: "revoked"},
		tokenSecret{client.TokenSecret{Token: token, Secret: "ckt_secret"}}, tokenList{[]client.Token{token, ended, unused}, noon},
		done{form: "token-revoked/v1", Name: "tok-1", Change: "revoked"},
		decision{Action: "chart.push", Project: "demo", Chart: "db", explain: true, Decision: client.Decision{Steps: []client.DecisionStep{
			{Holder: "credential", Grant: &grant, Why: "it is for charts web*, not db"}, {Holder: "everyone", Why: "project demo is not public"}}}},
		reviewedNotes{[]notes.Release{
			{Version: "1.4.2", LineStart: 5, LineEnd: 24, Security: true, IDs: []string{"CVE-2031-1234"}, Unread: "a line is longer than is read", Hints: []notes.Hint{
				{Rule: notes.RuleDependency, Line: 7, Text: "Bump parser from 1.2.3 to 1.2.4\x1b[2J for CVE-2031-1234", Security: true, IDs: []string{"CVE-2031-1234"}, Name: "parser", Old: "1.2.3", New: "1.2.4"},
				{Rule: notes.RuleOperator, Line: 9, Text: "You must set auth.key before the upgrade, or the sessions of all users end with it and they have to log in again"},
				{Rule: notes.RuleImage, Line: 12, Text: "The image is now example/web:2.8.4-python3.9", Name: "example/web", New: "2.8.4-python3.9"},
			}},
			{LineStart: 25, LineEnd: 31, IDs: []string{}, Hints: []notes.Hint{}},
		}},
		sampleDiff(), sampleCheck(),
		upstreamComparison{[]upstreamEvent{
			{Event: "changed", Chart: "web", Version: "1.4.2", OldDigest: some[7:], NewDigest: more[7:]},
			{Event: "created-rewritten", Chart: "web", Version: "1.4.1", OldDigest: some[7:], NewDigest: some[7:], OldCreated: noon.Add(-time.Millisecond), NewCreated: noon},
			{Event: "invalid", Chart: "we\x1b[2Jb", Version: "latest", Detail: "the version is not a version that Helm can read"},
			{Event: "invalid", Detail: "the index is empty"}}},
		push, pushedList{[]pushed{push, same}},
		pulled{Project: "team-a/demo", Chart: "web", Version: "v0.9", Digest: some, ContentDigest: more, LogIndex: 3, Legacy: true, Yank: yanked.Yank, File: "charts/web-v0.9.tgz", Proof: "charts/web-v0.9.tgz.tlog-proof"},
		verification{"web-v0.9.tgz", client.Verification{Digest: some, Logged: logged, Checks: checks, Verdict: client.Failed}},
		sampleRemembered(logged, checks), sampleJudged(),
		releaseResult{yanked}, releaseList{[]client.Release{rel, yanked, legacy}},
		releaseDetail{client.Detail{Release: rel, Metadata: chart.Metadata{Name: "web", Version: "1.4.2", APIVersion: "v2", AppVersion: "3.1", Description: "A web | *site*\nof \u202eours", Deprecated: true,
			Dependencies: []chart.Dependency{{Name: "redis", Version: ">= 1", Repository: "https://charts.example.test"}}}, Proof: "c2sp.org/tlog-proof@v1\n…\n"}},
		chartList{[]client.ChartSummary{{Name: "web", Latest: rel, Releases: 1234, Updated: noon, Description: "A site"}, {Name: "db", Releases: 1, Updated: noon}}},
		madeWitness{Folder: "/srv/witness", Key: "w1.example.test+0a1b2c3d+BAA=", AuditKey: "w1.example.test/audit+0a1b2c3d+BAA=", Added: []string{"log.example.test"}, Known: []string{}},
		witnessesResult{client.Witnessing{
			Mode: "required", Quorum: "two", Size: 9000, Published: 8990, MetSize: 8990, MetTime: noon, Witnesses: []client.Witness{
				{Name: "team-b", Key: "w1.example.test", VerifierKey: "w1.example.test+0a1b2c3d+BAA=", URL: "https://w1.example.test", State: "cosigned", Size: 9000, Cosigned: noon, Asked: noon},
				{Name: "partner", Key: "w2.example.test", VerifierKey: "w2.example.test+0a1b2c3d+BAA=", URL: "https://w2.example.test", State: "refusing", Size: 9100, Asked: noon,
					Failure: "it has cosigned 9100 leaves of this log,\x1b[2J and there are 9000", Since: noon.Add(-2 * time.Hour), Refusal: "ahead"},
			}}, noon.Add(3 * time.Minute)},
		checkpoint{"log.example.test", 9000, "RQ==", client.Unchecked, "log.example.test\n9000\nRQ==\n\n— log.example.test abc=\n"},
		proofResult{"demo", "web", "1.4.2", 8121, 9000, "log.example.test", []string{"RQ==", "Rg=="}, "chartkeep/release/v1\nproject demo\n", "c2sp.org/tlog-proof@v1\n…\n"},
		consistency{"log.example.test", 4, "RQ==", 9000, "Rg==", []string{"RQ=="}, checks[:1], client.Passed},
		leafResult{Index: 8121, Type: "chartkeep/yank/v1", Hash: "RQ==", Leaf: "chartkeep/yank/v1\nproject demo\n", Lines: map[string]string{"project": "demo"}, order: []fact{{"project", "demo"}}},
		auditList{[]client.AuditRecord{audit}, true},
		importResult{Project: "platform", From: "https://old.example.test", Taken: 1, Unchanged: 0, Refused: 1, NotTried: 2, Items: []imported{
			{Chart: "web", Version: "1.0.0", Source: "https://old.example.test/web-1.0.0.tgz", Result: importTaken, Digest: some, LogIndex: &index, Provenance: true},
			{Source: "https://old.example.test/x.tgz", Result: importRefused, Rule: "fetch", Reason: "it cannot be fetched: the old repository answered 500"}}},
		written{"chartkeep.yaml"},
		diagnosis{false, []daemon.Finding{{Name: "configuration", Result: "ok", Detail: "understood"}, {Name: "log key", Result: "fail", Detail: "it is missing", Try: "restore it"}}},
	}...)
}

// TestResults holds every form of every result. A field of the JSON that goes
// or changes its name or its type is a new version of the schema.
func TestResults(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range sampleResults() {
		name := strings.ReplaceAll(r.schema(), "/", "-")
		if seen[name] {
			t.Errorf("schema %s is that of two results", r.schema())
		}
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, p := range []struct {
				title string
				printer
			}{
				{"table", printer{form: formTable}},
				{"table, 80 columns, colour", printer{form: formTable, width: 80, color: true}},
				{"quiet", printer{form: formJSON, quiet: true}},
				{"json", printer{form: formJSON}},
				{"yaml", printer{form: formYAML}},
				{"markdown", printer{form: formMarkdown}},
				{"sarif", printer{form: formSARIF}},
				{"junit", printer{form: formJUnit}},
			} {
				if _, ok := r.(reporter); !ok && slices.Contains(reportForms, p.form) {
					continue
				}
				var b bytes.Buffer
				p.out = &b
				if err := p.print(r); err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(b.String()) {
					line = strings.TrimSuffix(line, "\n")
					if p.color {
						line = strings.NewReplacer("\x1b[2m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[0m", "").Replace(line)
						if span(line) > 80 && !slices.ContainsFunc(strings.Fields(line), func(w string) bool { return span(w) > 50 }) {
							t.Errorf("a line has %d columns: %q", span(line), line)
						}
					}
					if strings.ContainsFunc(line, unprintable) {
						t.Errorf("%s: a control character comes through: %q", p.title, line)
					}
					if strings.HasSuffix(line, " ") {
						t.Errorf("%s: a line ends in a space: %q", p.title, line)
					}
				}
				// A colour begins with ESC, which has no place in a golden file.
				out.WriteString("-- " + p.title + " --\n" + strings.ReplaceAll(b.String(), "\x1b", "␛"))
			}
			golden(t, name+".txt", out.Bytes())
		})
	}
}

// commandsBelow lists all commands that people see.
func commandsBelow(t *testing.T, root *cobra.Command) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	if err := eachCommand(context.Background(), root, func(c *cobra.Command) error { all = append(all, c); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func testApp() *app {
	return &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, now: func() time.Time { return noon }}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	root := testApp().root()
	root.InitDefaultHelpCmd()
	for _, c := range commandsBelow(t, root) {
		if slices.Contains([]string{"bash", "zsh", "fish", "powershell"}, c.Name()) {
			continue // cobra's own
		}
		out.WriteString("==== " + c.CommandPath() + "\n")
		c.SetOut(&out)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(out.String()) {
		if n := span(strings.TrimSuffix(line, "\n")); n > 82 {
			t.Errorf("a line of help has %d columns: %s", n, line)
		}
	}
	golden(t, "help.txt", out.Bytes())
}

// Every example of every command is one that its flags and arguments allow.
func TestExamples(t *testing.T) {
	for _, c := range commandsBelow(t, testApp().root()) {
		if c.HasSubCommands() && c.HasParent() || !c.Runnable() {
			continue
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", "")) {
			line = strings.TrimSpace(line)
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " < ")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			words := shellWords(t, line)
			if words[0] != "chartkeep" {
				t.Errorf("%s: an example is of another program: %s", c.CommandPath(), line)
				continue
			}
			root := testApp().root()
			found, rest, err := root.Find(words[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil || found.HasSubCommands() {
				t.Errorf("%s: the example does not work: %s: %v", c.CommandPath(), line, err)
			}
		}
	}
}

// shellWords splits a line as a shell does that has no variables.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	quote, inside := rune(0), false
	for _, r := range line + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, inside = r, true
		case quote == 0 && r == ' ':
			if inside {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			inside = true
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		t.Fatalf("unfinished quote: %s", line)
	}
	return words
}

// TestErrors holds the form of errors, and their exit codes, for what needs no
// server.
func TestErrors(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("key", []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, line := range []string{
		"frob", "pusch", "project frob", "project creat", "log prov demo/web@1", "help frob",
		"push", "push a.tgz", "push a.tgz --project demo", "pull", "pull a b", "pull web", "pull oci://host/demo/web", "pull demo/web@",
		"verify", "verify none.tgz", "verify none.tgz --log-key none", "verify none.tgz --log-key key", "verify web",
		"yank demo/web --reason broken", "yank demo/web@1.0.0", "unyank demo/web",
		"project set demo", "project remove demo", "project cut-over demo", "project import demo", "project import demo --from none",
		"user create", "user create ann --kind robot --password-stdin", "user passwd ann", "user disable ann",
		"token create", "token create --project demo", "token create --project demo --role reader --expires never", "token revoke ckt_x", "token can-i",
		"grant add ann --role reader", "grant add ann --project demo --role reader --expires 2001-01-01",
		"log show -1", "log show x", "log consistency none", "audit list --limit -1", "audit list --limit x", "audit list x",
		"advisory match", "advisory match redis:6 --components x", "advisory match redis:6 --fail-on loud", "advisory match redis:6 --fail-on high", "advisory match redis:6 --advisories none",
		"advisory match redis:6 --advisories key", "advisory import own none.json", "advisory feed add", "advisory feed add own", "advisory feed add --preset ours", "advisory feed add --preset github:x", "advisory feed set own",
		"review make", "review sign sha256:5a5a5a5a --decline", "review sign sha256:5a5a5a5a --answer x", "review sign sha256:5a5a5a5a --answer x=y --answer x=z", "explain",
		"waiver request CVE-2026-1", "waiver request CVE-2026-1 --reason x --until 2001-01-01", "waiver approve x", "window set x --security", "window set x --start noon", "decision policy set none",
		"upgrade show x", "upgrade dismiss 1", "tracker add ops", "outdated --advisories x", "outdated --from . --policy x", "outdated --fail-on loud", "outdated --fail-on low --fail-on high", "practice --since lately",
		"version -o xml", "version --color blue", "version --nope", "version --token-file",
		"project list --server charts.example.com", "project list --token-file none", "serve --config none", "serve --log-format x",
	} {
		var stdout, stderr bytes.Buffer
		code := Main(context.Background(), strings.Fields(line), strings.NewReader(""), &stdout, &stderr, []string{"CHARTKEEP_SERVER=http://127.0.0.1:1"})
		out.WriteString("$ chartkeep " + line + "\n" + stderr.String() + "exit code " + number(int64(code)) + "\n\n")
		if stdout.Len() > 0 {
			t.Errorf("%s: writes to stdout: %s", line, stdout.String())
		}
		if code == 0 || !strings.Contains(stderr.String(), "Error: ") {
			t.Errorf("%s: exit code %d, %s", line, code, stderr.String())
		}
	}
	t.Chdir(here)
	golden(t, "errors.txt", out.Bytes())
}
