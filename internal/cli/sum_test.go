package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon"
)

// twin starts a second server from a copy of the first one's data, with the
// same log key, at $TWIN. What both write from then on are two histories.
func twin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: twin")
	}
	cfg := daemon.Default()
	cfg.Data, cfg.Listen = ts.MkAbs(".twin"), "127.0.0.1:0"
	ts.Check(os.CopyFS(cfg.Data, os.DirFS(ts.MkAbs(".data"))))
	ctx, stop := context.WithCancel(context.Background())
	d, err := daemon.Open(ctx, cfg, io.Discard)
	if err != nil {
		stop()
		ts.Fatalf("open: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	ts.Defer(func() {
		stop()
		ts.Check(errors.Join(<-ended, d.Close()))
	})
	ts.Setenv("TWIN", d.URL())
}

// fill FILE writes $OCI and $CHARTKEEP_SERVER into a file in place of the words
// OCI and SERVER.
func fill(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.NewReplacer("OCI", ts.Getenv("OCI"), "SERVER", ts.Getenv("CHARTKEEP_SERVER")).Replace(ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// sampleRemembered has a release that changed, one that is new, and a log that
// could not be checked.
func sampleRemembered(logged *client.Logged, checks []client.Check) result {
	pass := []client.Check{{Name: client.CheckPin, Result: client.Pass, Detail: "the bytes are those that were verified before"}}
	return remembered{
		File: "deploy/chartkeep.sum",
		Recollection: client.Recollection{
			Charts: []client.Recalled{
				{Subject: "oci://charts.example.com/demo/web:v0.9", Door: "oci://charts.example.com", Verification: client.Verification{Digest: some, Logged: logged, Checks: checks, Verdict: client.Failed}},
				{Subject: "demo/db@2.0.0", Door: "https://charts.example.com", First: true, Verification: client.Verification{Digest: more, Logged: logged, Checks: pass, Verdict: client.Passed}},
				{Subject: "demo/x@1.0.0", Verification: client.Verification{Checks: []client.Check{{Name: client.CheckFetch, Result: client.Unchecked, Detail: "the server\x1b[2J answered 404 Not Found"}}, Verdict: client.Incomplete}},
			},
			Logs: []client.LogRecall{{Origin: "log.example.test", Pinned: 8000, Size: 9000, Root: "RQ==", Verdict: client.Incomplete,
				Checks: []client.Check{{Name: client.CheckWitness, Result: client.Unchecked, Detail: "the checkpoint of 9000 entries does not have the quorum both; missing: a"}}}},
			Verdict: client.Failed,
		},
		Skipped:  []skipped{{"redis 19.0.1", "nothing is known of a log of charts.example.test"}},
		Evidence: []string{"deploy/chartkeep-evidence-0123456789ab.json"},
	}
}

func sampleJudged() result {
	index := int64(8121)
	return judged{
		File: "evidence.json",
		Judgement: client.Judgement{Kind: client.EvidenceFork, Origin: "log.example.test", Convicted: true, Statement: "the key of log.example.test signed two different logs of 9000 entries",
			Checks: []client.Check{{Name: client.CheckOlder, Result: client.Pass, Detail: "signed by the key of log.example.test"}}},
		Claimed: client.Evidence{Schema: "log-evidence/v1", Kind: client.EvidenceFork, Found: "it signed\x1b[2J two", Time: noon, Server: "https://charts.example.com", Origin: "log.example.test",
			Keys: []string{"log.example.test+0123abcd+A"}, Older: "log.example.test\n9000\nRQ==\n", Newer: "log.example.test\n9000\nRg==\n", Prefix: "Rg==", Consistency: []string{"RQ=="},
			Proofs: []string{"c2sp.org/tlog-proof@v1\n"}, Release: "demo/web@1.4.2", Pinned: &client.Seen{Digest: some, Index: &index}, Served: &client.Seen{Digest: more}},
	}
}

// FuzzChartLock holds that no Chart.lock leads to a panic, or to a reference
// whose server is another than its repository's.
func FuzzChartLock(f *testing.F) {
	f.Add([]byte("dependencies:\n- {name: web, repository: \"oci://charts.example.com/demo\", version: 1.0.0}\n"))
	f.Add([]byte("dependencies:\n- name: web\n  repository: https://charts.example.com/demo/\n  version: 1.0.0+b\n"))
	f.Add([]byte("a: &a [*a]\ndependencies: *a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseLock(text)
		if err != nil {
			return
		}
		for _, d := range list {
			ref, why := dependency(d, client.Sum{}, "https://charts.example.com")
			if why == "" && ref.Server != "https://charts.example.com" && ref.Server != "http://charts.example.com" {
				t.Fatalf("%+v leads to %s", d, ref.Server)
			}
		}
	})
}
