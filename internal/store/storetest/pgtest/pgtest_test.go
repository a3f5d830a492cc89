package pgtest_test

import (
	"database/sql"
	"os"
	"testing"

	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// TestNew shows that each test has a database of its own, and that the order
// of text in it is not the order of bytes.
func TestNew(t *testing.T) {
	for range 2 {
		db, err := sql.Open("pgx", pgtest.New(t))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("CREATE TABLE one (word TEXT)"); err != nil {
			t.Fatal(err)
		}
		var people bool
		if err := db.QueryRow("SELECT 'a' < 'B'").Scan(&people); err != nil || !people {
			t.Fatalf("'a' sorts before 'B': %t, %v; the server orders by bytes", people, err)
		}
	}
}
