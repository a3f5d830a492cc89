package custody

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// invalid checks that what is not taken is refused as a problem of a kind that
// counts as damage, and never as something that nothing is known of.
func invalid(t *testing.T, err error) {
	t.Helper()
	if err != nil && !damaged(err) {
		t.Errorf("bad bytes are refused by %v", err)
	}
}

func FuzzParseAsides(f *testing.F) {
	staged := true
	var texts [][]byte
	err := encodeAsides(Releases, 5, 9, []Aside{
		{Index: 5, Door: "api", Publisher: "usr-1", Created: "2026-05-06T07:08:09Z", Staged: &staged},
		{Index: 7, Policy: json.RawMessage(`{"a":1}`), Links: []Link{{"sha256:x", 3, true}}, Blobs: []Blob{{"sha256:x", []byte("abc")}}},
		{Index: 8, Forget: []int64{1}, Manifests: []Manifest{{Repository: "a/b", Digest: "d", Bytes: []byte("{}")}}},
	}, func(_, _ int64, data []byte) error {
		texts = append(texts, data)
		return nil
	})
	if err != nil || len(texts) != 1 {
		f.Fatal(texts, err)
	}
	f.Add(texts[0])
	for _, s := range []string{"", "{}", "null", `{"schema":"chartkeep/aside/v1","log":"release","from":1,"to":1}`,
		`{"schema":"chartkeep/aside/v1","from":-1,"to":2,"leaves":[{"index":0}]}`, `{"schema":"chartkeep/aside/v1","from":0,"to":9,"leaves":[{"index":3},{"index":3}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAsides(data)
		if err != nil {
			invalid(t, err)
			return
		}
		if a.From < 0 || a.To <= a.From {
			t.Errorf("a record about leaves %d to %d", a.From, a.To)
		}
		for i := range a.Leaves {
			if at := a.Leaves[i].Index; at < a.From || at >= a.To {
				t.Errorf("a leaf %d in a record about %d to %d", at, a.From, a.To)
			}
			for _, b := range a.Leaves[i].Blobs {
				if got := a.Leaves[i].blob(b.Digest); got != nil && !digest.Matches(got, b.Digest) {
					t.Error("bytes without their digest are taken")
				}
			}
		}
	})
}

// TestEncodeAsides splits what is large, and comes back as it was.
func TestEncodeAsides(t *testing.T) {
	var list []Aside
	for i := range int64(24) {
		list = append(list, Aside{Index: 3 + 2*i, Blobs: []Blob{{"sha256:x", bytes.Repeat([]byte{byte(i)}, 1<<20)}}})
	}
	next, records := int64(0), 0
	var got []Aside
	err := encodeAsides(Audits, 0, 256, list, func(from, to int64, data []byte) error {
		if from != next || len(data) > maxAside {
			t.Errorf("a record from %d, want %d, of %d bytes", from, next, len(data))
		}
		a, err := parseAsides(data)
		if err != nil || a.From != from || a.To != to || a.Log != Audits {
			t.Errorf("%d to %d came back as %d to %d, %v", from, to, a.From, a.To, err)
		}
		next = to
		records++
		got = append(got, a.Leaves...)
		return nil
	})
	if err != nil || next != 256 || records != 4 {
		t.Errorf("%d records up to %d, %v", records, next, err)
	}
	if !reflect.DeepEqual(list, got) {
		t.Error("leaves came back otherwise")
	}
}

func FuzzParseNotice(f *testing.F) {
	good, err := json.Marshal(Notice{noticeSchema, audit.BackupMade, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), map[string]string{"backup": "x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, s := range []string{"", "{}", `{"schema":"chartkeep/notice/v1","event":"release.accepted","time":"2026-01-01T00:00:00Z"}`,
		`{"schema":"chartkeep/notice/v1","event":"backup.made","time":"0001-01-01T00:00:00Z"}`, `{"schema":"chartkeep/notice/v1","event":"backup.made","time":"2026-01-01T00:00:00Z","detail":{"` + strings.Repeat("x", 99) + `":"y"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseNotice(data)
		if err != nil {
			invalid(t, err)
			return
		}
		// Whatever is taken can be told.
		ev := audit.Event{Time: n.Time, Name: n.Event, Actor: audit.Actor{Kind: "system", ID: "server"}, Door: audit.DoorServer, Outcome: audit.Outcome{Result: audit.Allowed}, Detail: n.Detail}
		if ev.ID, err = audit.NewID(ev.Time, strings.NewReader("0123456789")); err != nil {
			t.Fatal(err)
		}
		if _, err := ev.Encode(); err != nil {
			t.Errorf("the notice %s cannot be told: %v", data, err)
		}
	})
}

func FuzzParseBackup(f *testing.F) {
	hash := "sha256:" + strings.Repeat("0", 64)
	m := Backup{ID: BackupID(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "ABCDEFGH"), Contents: hash, Keys: []string{"log.vkey"},
		Database: Dump{Kind: DumpPostgres, Migrations: map[string]string{"0001.sql": "x"}, Tables: []DumpTable{{"leaf", []string{"log"}, 3}}},
		Logs:     []BackupHead{{Log: Releases, Size: 3}, {Log: Audits, Size: 4}}}
	good, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	if got, err := ParseBackup(good); err != nil || got.ID != m.ID {
		f.Fatalf("%+v, %v", got, err)
	}
	f.Add(good)
	for _, r := range [][2]string{{"leaf", "../leaf"}, {"leaf", `a\"b`}, {"log.vkey", "../../x"}, {m.ID, "../x"}, {"postgres", "other"}, {`"log": "audit"`, `"log": "release"`}, {hash, "x"}} {
		bad := strings.Replace(string(good), r[0], r[1], 1)
		if _, err := ParseBackup([]byte(bad)); problem.KindOf(err) != problem.Invalid {
			f.Errorf("%s for %s is taken: %v", r[1], r[0], err)
		}
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseBackup(data)
		if err != nil {
			invalid(t, err)
			return
		}
		for _, name := range append(m.Database.Files(), append(m.Keys, m.ID)...) {
			if strings.ContainsAny(name, "/\\\x00") || strings.HasPrefix(name, ".") || name == "" {
				t.Errorf("a name %q leads out of the backup", name)
			}
		}
	})
}

func FuzzReadContents(f *testing.F) {
	sum := strings.Repeat("a0", 32)
	f.Add([]byte(sum + "  blobs/sha256/a0/" + sum + "\n" + sum + "  snapshots/20260102t030405000z-abcd/contents\n"))
	for _, path := range []string{"../x", "/etc/passwd", "blobs/../x/y", "blobs//x/y", "blobs/sha256/a0/.x", "snapshots/x/y", "blobs/sha256/a0", "x\x00"} {
		f.Add([]byte(sum + "  " + path + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := ReadContents(bytes.NewReader(data), func(it Item) error {
			if len(it.SHA256) != 64 || strings.Contains("/"+it.Path, "/.") || strings.HasPrefix(it.Path, "/") || strings.ContainsAny(it.Path, "\\\x00\n") {
				t.Errorf("the path %q leads out of the backup", it.Path)
			}
			return nil
		})
		invalid(t, err)
	})
}

// TestNumberKeys: names sort as their numbers do.
func TestNumberKeys(t *testing.T) {
	last := ""
	for _, n := range []int64{0, 1, 9, 10, 255, 999, 1000, 1001, 999_999, 1_000_000, 1<<53 - 1} {
		key := numberKey(n)
		if key <= last {
			t.Errorf("%d is %s, behind %s", n, key, last)
		}
		last = key
	}
	if last != "009/007/199/254/740/991" {
		t.Errorf("the largest size is %s", last)
	}
}
