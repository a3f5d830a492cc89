package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// A round follows another after the interval, give or take a tenth; one that
// failed is tried again sooner, and never sooner than after 27 seconds.
func TestRepeated(t *testing.T) {
	for _, tt := range []struct {
		name        string
		every, long time.Duration
		fails       bool
		want        []time.Duration // from round to round
	}{
		{"good", time.Hour, 0, false, []time.Duration{time.Hour, time.Hour, time.Hour}},
		{"slow", time.Hour, 30 * time.Minute, false, []time.Duration{time.Hour, time.Hour}},
		{"slower than its interval", time.Minute, 5 * time.Minute, false, []time.Duration{306 * time.Second, 306 * time.Second}},
		{"fails", time.Hour, 0, true, []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 4 * time.Minute, 4 * time.Minute}},
		{"fails, often", time.Minute, 0, true, []time.Duration{30 * time.Second, time.Minute, time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				var began []time.Time
				failed := 0
				r := repeated{every: tt.every, now: time.Now, round: func(context.Context) error {
					began = append(began, time.Now())
					time.Sleep(tt.long)
					if len(began) > len(tt.want) {
						stop()
					}
					if tt.fails {
						return errors.New("no")
					}
					return nil
				}, failed: func(_ error, next time.Time) {
					if failed++; next.IsZero() != (ctx.Err() != nil) {
						t.Errorf("round %d is tried again at %s", failed, next)
					}
				}}
				r.run(ctx)
				if len(began) != len(tt.want)+1 || failed != 0 != tt.fails {
					t.Fatalf("%d rounds, %d failed", len(began), failed)
				}
				for i, want := range tt.want {
					if got := began[i+1].Sub(began[i]); got < want-want/10 || got > want+want/10 {
						t.Errorf("pause %d is %s, want about %s", i, got, want)
					}
				}
			})
		})
	}
}

// A round that has begun when the command is to end is done to its end, with
// its own limit of time and no other.
func TestRepeatedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		r := repeated{every: time.Hour, now: time.Now, round: func(ctx context.Context) error {
			stop()
			time.Sleep(time.Minute)
			if ctx.Err() != nil {
				t.Error("the round was cut off")
			}
			if end, ok := ctx.Deadline(); !ok || time.Until(end) != importTime-time.Minute {
				t.Error("the round has no limit")
			}
			return nil
		}, failed: func(err error, _ time.Time) { t.Error(err) }}
		began := time.Now()
		r.run(ctx)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("it ended after %s", d)
		}
	})
}

// Imports are repeated over a failing server, with the token as the file has
// it then, and each declares the interval.
func TestImportEvery(t *testing.T) {
	dir := t.TempDir()
	token, list := filepath.Join(dir, "token"), filepath.Join(dir, "deployments.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token, "first")
	write(list, "deployments:\n- {chart: web, version: 1.0.0, cluster: prod, namespace: shop, name: web}\n")
	ctx, stop := context.WithCancel(t.Context())
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte(`"every":"15m"`)) {
			t.Errorf("%s, %v", body, err)
		}
		asked = append(asked, r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		switch len(asked) {
		case 1:
			write(token, "second")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"schema":"error/v1","kind":"unavailable","message":"the server starts"}`)
			return
		case 3:
			stop()
		}
		fmt.Fprint(w, `{"schema":"deployment-import/v1","import":"prod","deployments":1,"unresolved":1,"new":1,"changed":0,"gone":0,"events":[],"problems":[]}`)
	}))
	defer srv.Close()
	var out, errs bytes.Buffer
	a := testApp()
	a.stdout, a.stderr, a.global.server, a.global.tokenFile, a.global.form = &out, &errs, srv.URL, token, formTable
	r := a.importing("prod", &whereOptions{from: []string{list}}, 15*watch.Duration(time.Minute))
	r.every = time.Millisecond
	r.run(ctx)
	if got := strings.Join(asked, " "); !strings.HasPrefix(got, "Bearer first Bearer second Bearer second") || len(asked) != 3 {
		t.Errorf("asked with %s", got)
	}
	if n := strings.Count(out.String(), " import prod: 1 deployment, 1 unresolved, 1 new\n"); n != 2 {
		t.Errorf("printed:\n%s", out.String())
	}
	for _, want := range []string{"Error: the server starts", " import prod failed; it is tried again at 20"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, errs.String())
		}
	}
}
