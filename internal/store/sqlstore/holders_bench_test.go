package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/release"
)

// BenchmarkHolders lists a page of who may do what, in a server with a million
// grants of as many accounts: of a project with 20, of one with ten thousand, and
// of all: go test -run - -bench Holders -benchtime 3x
func BenchmarkHolders(b *testing.B) {
	d := newSQLite(b)
	s := d.open(b, nil)
	b.Cleanup(func() { s.Close() })
	const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) "
	db := d.behind(b)
	for _, q := range []string{
		"INSERT INTO account (id, name, kind, password, disabled, created) " + numbers + "SELECT printf('usr-%07d', i), printf('person-%07d', (i * 7919) % 1000000), 'user', '', 0, 0 FROM n",
		"INSERT INTO access_grant (id, subject, role, project, chart, versions, expires, created) " + numbers +
			"SELECT printf('grn-%07d', i), printf('usr-%07d', i), 'reader', CASE WHEN i % 50000 = 0 THEN 'small' WHEN i % 100 = 1 THEN 'large' ELSE printf('project-%05d', i % 20000) END, '', '', 0, 0 FROM n",
	} {
		if _, err := db.Exec(q); err != nil {
			b.Fatal(err)
		}
	}
	for project, want := range map[string]int{"small": 20, "large": 101, "": 101} {
		for _, after := range []string{"", "person-0500000"} {
			b.Run(fmt.Sprintf("%s/after %s", project, after), func(b *testing.B) {
				f := release.HolderFilter{Project: project, Limit: 101}
				if after != "" {
					f.AfterName, f.AfterID = after, "grn-0"
				}
				for b.Loop() {
					got, err := s.Holders(b.Context(), f, time.Now())
					if err != nil || after == "" && len(got) != want {
						b.Fatalf("%d holders, %v", len(got), err)
					}
				}
			})
		}
	}
}
