package sqlstore_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	remotesigner "github.com/chartkeep/chartkeep/internal/remote/signer"
	"github.com/chartkeep/chartkeep/internal/signer"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
)

// BenchmarkClaimSigner compares claims under a key of this process with claims
// under a signer behind a Unix socket, which makes its state durable for each
// batch. Both run in turns on the same disk.
func BenchmarkClaimSigner(b *testing.B) {
	for _, place := range []struct {
		name string
		make func(testing.TB) database
	}{{"SQLite", newSQLite}, {"PostgreSQL", newPostgres}} {
		for _, publishers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/publishers=%d", place.name, publishers), func(b *testing.B) {
				own := place.make(b).open(b, nil)
				d := place.make(b)
				client, vkey := socketSigner(b)
				d.config.Remote = client
				s, err := sqlstore.Open(b.Context(), keyedBy(b, d.config, vkey))
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				project, other := someProject(b, own), someProject(b, s)
				const turns = 8
				var local, remote time.Duration
				n := 0
				b.ResetTimer()
				for range turns {
					count := b.N/turns + 1
					local += publish(publishers, count, func(i int) error {
						_, err := own.Claim(context.Background(), benchClaim(project, n+i))
						return err
					}, b)
					remote += publish(publishers, count, func(i int) error {
						_, err := s.Claim(context.Background(), benchClaim(other, n+i))
						return err
					}, b)
					n += count
				}
				b.ReportMetric(float64(remote.Nanoseconds())/float64(n), "ns/op")
				b.ReportMetric(float64(n)/local.Seconds(), "own-key/s")
				b.ReportMetric(float64(n)/remote.Seconds(), "signer/s")
				b.ReportMetric(local.Seconds()/remote.Seconds(), "ratio")
			})
		}
	}
}

// keyedBy is the configuration of a store whose key is in a signer.
func keyedBy(t testing.TB, cfg sqlstore.Config, vkey string) sqlstore.Config {
	keys := storetest.Keys(t)
	cfg.Origin, cfg.AuditSigner, cfg.VerifierKey = storetest.Origin, keys.AuditSigner, vkey
	return cfg
}

// socketSigner runs a signer behind a socket.
func socketSigner(t testing.TB) (sqlstore.HeadSigner, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s")
	made, err := signer.Init(dir, storetest.Origin, signer.Source{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := signer.Open(signer.Config{Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(ln)
	secret, err := signer.ReadSecret(made.Secret)
	if err != nil {
		t.Fatal(err)
	}
	client, err := remotesigner.New(nil, "unix://"+filepath.Join(dir, "sock"), secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close(); s.Close() })
	return client, made.Key
}
