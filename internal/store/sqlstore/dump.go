package sqlstore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Snapshot writes a dump of a database into a folder that exists, while servers
// use it, and inspects it. Nobody waits for it. The files are not synced.
func Snapshot(ctx context.Context, cfg Config, folder string, look Look) (custody.Dump, Inspection, error) {
	d := dialect{postgres: cfg.Postgres != ""}
	dsn := cfg.SQLite
	if d.postgres {
		dsn = cfg.Postgres
	} else if _, err := os.Stat(dsn); err != nil {
		return custody.Dump{}, Inspection{}, problem.New(problem.NotFound, "database", "there is no database %s", dsn)
	}
	write, read, err := d.open(dsn)
	if err != nil {
		return custody.Dump{}, Inspection{}, err
	}
	defer write.Close()
	defer read.Close()
	if d.postgres {
		return snapshotPostgres(ctx, write, folder, look)
	}
	to := filepath.Join(folder, custody.DumpFile)
	if _, err := write.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return custody.Dump{}, Inspection{}, fault("copy database", err)
	}
	return openDump(ctx, to, look)
}

// openDump inspects the dump of a SQLite database.
func openDump(ctx context.Context, path string, look Look) (custody.Dump, Inspection, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro&_pragma=query_only(1)"}).String())
	if err != nil {
		return custody.Dump{}, Inspection{}, err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil || verdict != "ok" {
		return custody.Dump{}, Inspection{}, problem.New(problem.Disproven, "backup-database", "the copy of the database is damaged: %s", verdict).Because(err)
	}
	out := custody.Dump{Kind: custody.DumpSQLite}
	if out.Migrations, err = migrationsOf(ctx, db); err != nil {
		return out, Inspection{}, err
	}
	seen, err := inspect(ctx, db, look)
	return out, seen, err
}

// InspectDump inspects the dump of a SQLite database. One of PostgreSQL is
// inspected when it is loaded.
func InspectDump(ctx context.Context, path string, look Look) (Inspection, error) {
	_, seen, err := openDump(ctx, path, look)
	return seen, err
}

const forgetKept = "DELETE FROM meta WHERE key = '" + keptMark + "'"

// ForgetKept makes a copy of a SQLite database forget that anything was ever
// kept beside it.
func ForgetKept(ctx context.Context, path string) error {
	write, read, err := dialect{}.open(path)
	if err != nil {
		return err
	}
	defer write.Close()
	defer read.Close()
	// One file again, without a log beside it: it is about to be renamed.
	for _, statement := range []string{forgetKept, "PRAGMA journal_mode = DELETE"} {
		if _, err := write.ExecContext(ctx, statement); err != nil {
			return fault("change database", err)
		}
	}
	return nil
}

// queryer is a pool, a connection or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func migrationsOf(ctx context.Context, q queryer) (map[string]string, error) {
	out := map[string]string{}
	return out, rowsOf(ctx, q, "SELECT name, sha256 FROM migration", func(r scanner) error {
		var name, sum string
		err := r.Scan(&name, &sum)
		out[name] = sum
		return err
	})
}

func rowsOf(ctx context.Context, q queryer, query string, fn func(scanner) error) error {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return fault("read database", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return fault("read database", rows.Err())
}

// snapshotPostgres copies every table in one transaction that sees one moment.
func snapshotPostgres(ctx context.Context, db *sql.DB, folder string, look Look) (custody.Dump, Inspection, error) {
	out := custody.Dump{Kind: custody.DumpPostgres}
	var seen Inspection
	err := inConn(ctx, db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", func(conn *sql.Conn) error {
		var err error
		if out.Migrations, err = migrationsOf(ctx, conn); err != nil {
			return err
		}
		if out.Tables, err = tablesOf(ctx, conn); err != nil {
			return err
		}
		for i := range out.Tables {
			if err := copyOut(ctx, conn, &out.Tables[i], folder); err != nil {
				return fault("copy table "+out.Tables[i].Name, err)
			}
		}
		seen, err = inspect(ctx, conn, look)
		return err
	})
	return out, seen, err
}

// inConn runs fn in a transaction on a connection of its own.
func inConn(ctx context.Context, db *sql.DB, begin string, fn func(*sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fault("open database", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return fault("begin transaction", err)
	}
	if err := fn(conn); err != nil {
		conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // err is the reason
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return fault("commit", err)
}

// tablesOf lists the tables but that of migrations, those first to which others
// refer.
func tablesOf(ctx context.Context, q queryer) ([]custody.DumpTable, error) {
	var out []custody.DumpTable
	err := rowsOf(ctx, q, "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t "+
		"ON t.table_schema = c.table_schema AND t.table_name = c.table_name "+
		"WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.table_name <> 'migration' ORDER BY c.table_name, c.ordinal_position", func(r scanner) error {
		var table, column string
		err := r.Scan(&table, &column)
		if len(out) == 0 || out[len(out)-1].Name != table {
			out = append(out, custody.DumpTable{Name: table})
		}
		last := &out[len(out)-1]
		last.Columns = append(last.Columns, column)
		return err
	})
	if err != nil {
		return nil, err
	}
	needs := map[string][]string{}
	err = rowsOf(ctx, q, "SELECT f.relname, t.relname FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid WHERE k.contype = 'f'", func(r scanner) error {
		var from, to string
		err := r.Scan(&from, &to)
		needs[from] = append(needs[from], to)
		return err
	})
	var depth func(name string, left int) int
	depth = func(name string, left int) (most int) {
		for _, to := range needs[name] {
			if to != name && left > 0 {
				most = max(most, 1+depth(to, left-1))
			}
		}
		return most
	}
	slices.SortStableFunc(out, func(a, b custody.DumpTable) int { return depth(a.Name, len(out)) - depth(b.Name, len(out)) })
	return out, err
}

// quoted is a name as SQL reads it, whatever is in it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quotedList(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quoted(n)
	}
	return strings.Join(out, ", ")
}

// raw hands the driver's own connection to fn, for COPY.
func raw(conn *sql.Conn, fn func(*pgconn.PgConn) error) error {
	return conn.Raw(func(c any) error { return fn(c.(*stdlib.Conn).Conn().PgConn()) })
}

func copyOut(ctx context.Context, conn *sql.Conn, t *custody.DumpTable, folder string) error {
	f, err := os.OpenFile(filepath.Join(folder, t.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = raw(conn, func(c *pgconn.PgConn) error {
		tag, err := c.CopyTo(ctx, w, "COPY "+quoted(t.Name)+" ("+quotedList(t.Columns)+") TO STDOUT")
		t.Rows = tag.RowsAffected()
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// LoadDump puts the dump of a PostgreSQL database that lies in a folder into an
// empty one, inspects it, and commits when then agrees; else nothing is left.
func LoadDump(ctx context.Context, postgres string, d *custody.Dump, folder string, look Look, then func(Inspection) error) error {
	db, _, err := dialect{postgres: true}.open(postgres)
	if err != nil {
		return err
	}
	defer db.Close()
	return inConn(ctx, db, "BEGIN", func(conn *sql.Conn) error {
		var tables int
		if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema()").Scan(&tables); err != nil {
			return fault("read database", err)
		}
		if tables > 0 {
			return problem.New(problem.Conflict, "restore-target", "the database has %d tables already, and a backup is restored into an empty one", tables).
				Suggest("make a new database, and give its connection string as CHARTKEEP_DATABASE")
		}
		if err := makeTables(ctx, conn, d); err != nil {
			return err
		}
		have, err := tablesOf(ctx, conn)
		if err != nil {
			return err
		}
		for _, t := range have {
			i := slices.IndexFunc(d.Tables, func(o custody.DumpTable) bool { return o.Name == t.Name })
			if i < 0 || len(d.Tables[i].Columns) != len(t.Columns) {
				return problem.New(problem.Disproven, "backup-table", "the backup does not have the table %s as its migrations make it", t.Name)
			}
			if err := copyIn(ctx, conn, &d.Tables[i], folder); err != nil {
				return fault("load table "+t.Name, err)
			}
		}
		if err := raiseSequences(ctx, conn); err != nil {
			return fault("set sequences", err)
		}
		if look.Unkept {
			if _, err := conn.ExecContext(ctx, forgetKept); err != nil {
				return fault("change database", err)
			}
		}
		seen, err := inspect(ctx, conn, look)
		if err != nil {
			return err
		}
		return then(seen)
	})
}

// makeTables runs the migrations that the dump has.
func makeTables(ctx context.Context, conn *sql.Conn, d *custody.Dump) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, createMigration); err != nil {
		return fault("make tables", err)
	}
	left := len(d.Migrations)
	for _, path := range names {
		text, err := migrations.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, "migrations/")
		sum := sha256.Sum256(text)
		want, ok := d.Migrations[name]
		if !ok {
			continue // newer than the backup: the server runs it
		}
		if want != hex.EncodeToString(sum[:]) {
			return problem.New(problem.Unavailable, "migration", "the backup was made with another text of migration %s", name).
				Suggest("restore with the version of chartkeep that made the backup")
		}
		if _, err := conn.ExecContext(ctx, (dialect{postgres: true}).migration(string(text))); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
		if _, err := conn.ExecContext(ctx, "INSERT INTO migration (name, sha256) VALUES ($1, $2)", name, want); err != nil {
			return fault("make tables", err)
		}
		left--
	}
	if left > 0 {
		return problem.New(problem.Unavailable, "migration", "the backup is newer than this program").
			Suggest("restore with the version of chartkeep that made the backup, or a newer one")
	}
	return nil
}

func copyIn(ctx context.Context, conn *sql.Conn, t *custody.DumpTable, folder string) error {
	f, err := os.Open(filepath.Join(folder, t.Name))
	if err != nil {
		return err
	}
	defer f.Close()
	// What a migration put there is in the dump, as it was then.
	var rows int64
	if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+quoted(t.Name)).Scan(&rows); err != nil {
		return err
	}
	if rows > 0 {
		if _, err := conn.ExecContext(ctx, "DELETE FROM "+quoted(t.Name)); err != nil {
			return err
		}
	}
	return raw(conn, func(c *pgconn.PgConn) error {
		tag, err := c.CopyFrom(ctx, bufio.NewReaderSize(f, 1<<20), "COPY "+quoted(t.Name)+" ("+quotedList(t.Columns)+") FROM STDIN")
		if err == nil && tag.RowsAffected() != t.Rows {
			err = problem.New(problem.Disproven, "backup-table", "the table %s has %d rows in the backup's file, and %d were written", t.Name, tag.RowsAffected(), t.Rows)
		}
		return err
	})
}

// raiseSequences lets the next number of each table follow the last one.
func raiseSequences(ctx context.Context, conn *sql.Conn) error {
	type column struct{ table, name string }
	var list []column
	err := rowsOf(ctx, conn, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'", func(r scanner) error {
		var c column
		err := r.Scan(&c.table, &c.name)
		list = append(list, c)
		return err
	})
	for _, c := range list {
		if err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, "SELECT setval(pg_get_serial_sequence($1, $2), COALESCE((SELECT MAX("+quoted(c.name)+") FROM "+quoted(c.table)+"), 0) + 1, false)", quoted(c.table), c.name)
	}
	return err
}
