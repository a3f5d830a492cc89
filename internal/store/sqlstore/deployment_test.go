package sqlstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// benchDeployments keeps n deployments with 4 KB of values and a print each.
func benchDeployments(tb testing.TB, s *sqlstore.Store, n int) {
	tb.Helper()
	list := make([]watch.Deployment, n)
	for i := range list {
		print := &deployment.Print{Fingerprint: fmt.Sprintf("v1:sha256:%064x", i), Defaults: map[string]string{}}
		for j := range 20 {
			print.Defaults[fmt.Sprintf("key%d", j)] = fmt.Sprintf("%064x", i*j)
		}
		values, err := json.Marshal(map[string]any{"image": map[string]any{"tag": fmt.Sprint(i)}, "config": strings.Split(strings.Repeat("a value of the chart,", 200), ",")})
		if err != nil {
			tb.Fatal(err)
		}
		list[i].Deployment = deployment.Deployment{
			Key: fmt.Sprintf("prod-%d/ns-%d/app-%05d", i%10, i%100, i), Tool: deployment.Helm, From: "context prod", Cluster: fmt.Sprint("prod-", i%10), Name: fmt.Sprint("app-", i),
			Environment: []string{"production", "staging"}[i%2], Owner: fmt.Sprint("team-", i%40), Exposure: deployment.ExposureControlled, ExposureWhy: "nothing lets it in from outside the cluster",
			Chart: deployment.Chart{Name: fmt.Sprint("chart-", i%200), Version: "1.2.3", AppVersion: "4.5"}, Status: "deployed", Values: values, Print: print, Fingerprint: print.Fingerprint,
			Images: []string{"registry.example.test/team/app:1.2.3", "registry.example.test/team/side:4.5.6"},
			Match:  deployment.Match{Confidence: deployment.Exact, How: "what Helm stored is what this archive holds", Upstream: "up", Chart: fmt.Sprint("chart-", i%200), Version: "1.2.3", Archive: fmt.Sprintf("sha256:%064x", i)},
		}
	}
	_, err := s.ReplaceDeployments(context.Background(), watch.Import{Name: "prod"}, list, someone(), someTime, func(_, _ *watch.Deployment) []watch.Event { return nil })
	if err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkDeployments reads 10,000 deployments with their values and without.
func BenchmarkDeployments(b *testing.B) {
	const n = 10_000
	for _, place := range []struct {
		name string
		make func(testing.TB) database
	}{{"SQLite", newSQLite}, {"PostgreSQL", newPostgres}} {
		s := place.make(b).open(b, nil)
		benchDeployments(b, s, n)
		for name, read := range map[string]func(context.Context, string) ([]watch.Deployment, error){"all": s.Deployments, "list": s.DeploymentList} {
			b.Run(place.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				measure(b, n, func() func() {
					return func() {
						if list, err := read(context.Background(), ""); err != nil || len(list) != n {
							b.Fatalf("%d, %v", len(list), err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkPrune forgets events, 500 of them in a transaction, beside as many
// again that are old and stay.
func BenchmarkPrune(b *testing.B) {
	const n = 5000
	s := newSQLite(b).open(b, nil)
	var list []watch.Event
	for i := range n {
		list = append(list, watch.Event{Kind: watch.UnknownChart, Deployment: fmt.Sprint("prod/", i), Time: someTime, Key: fmt.Sprint("stay", i)})
	}
	var running []watch.Deployment
	for i := range n {
		var d watch.Deployment
		d.Key = fmt.Sprint("prod/", i)
		running = append(running, d)
	}
	ctx := context.Background()
	if _, err := s.ReplaceDeployments(ctx, watch.Import{Name: "prod"}, running, someone(), someTime, func(_, _ *watch.Deployment) []watch.Event { return nil }); err != nil {
		b.Fatal(err)
	}
	record := func(list []watch.Event) {
		for len(list) > 0 {
			m := min(len(list), 1000)
			if _, err := s.RecordEvents(ctx, list[:m], someTime); err != nil {
				b.Fatal(err)
			}
			list = list[m:]
		}
		for {
			if m, err := s.RelayEvents(ctx, 1000, func([]watch.Event) []watch.Delivery { return nil }); err != nil {
				b.Fatal(err)
			} else if m == 0 {
				return
			}
		}
	}
	record(list)
	round := 0
	measure(b, n, func() func() {
		round++
		for i := range list {
			list[i] = watch.Event{Kind: watch.CreatedRewritten, Upstream: "u", Time: someTime, Key: fmt.Sprint(round, " ", i)}
		}
		record(append(list, watch.Event{Kind: watch.UnknownChart, Deployment: "prod/0", Time: someTime, Key: fmt.Sprint("last", round)}))
		list = list[:n]
		p := watch.Pruning{Events: someTime.Add(time.Hour), Deliveries: someTime, Limit: 500, WhileDeployed: []watch.EventKind{watch.UnknownChart}}
		return func() {
			for gone := 0; gone < n; {
				e, _, err := s.Prune(ctx, p)
				if err != nil || e == 0 {
					b.Fatalf("%d of %d, %v", gone, n, err)
				}
				gone += e
			}
		}
	})
}
