// Package pgtest starts a PostgreSQL server for tests: one for a test binary,
// with a fresh database for each test.
//
// The programs are those of Debian's package, found under
// /usr/lib/postgresql. Where they are missing a test is skipped, or fails when
// CHARTKEEP_TEST_REQUIRE=1. The server listens on a Unix socket in a folder of
// its own and nowhere else. It does not sync its files: what survives the loss
// of power is PostgreSQL's to promise, and is not what our tests ask.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// errMissing says that this machine has no PostgreSQL.
var errMissing = errors.New("PostgreSQL's programs are not installed (Debian: apt-get install postgresql)")

// cluster is the server of this test binary.
type cluster struct {
	once   sync.Once
	err    error
	dir    string
	server *exec.Cmd
	ended  chan struct{} // closed when server has ended
	log    bytes.Buffer  // what it said; read only after ended
	admin  *sql.DB
	count  atomic.Int64
}

var shared cluster

// Run runs the tests of a package and stops the server, if one was started.
func Run(m *testing.M) int {
	defer shared.stop()
	return m.Run()
}

// New makes an empty database that lives as long as the test, and returns its
// connection string.
func New(t testing.TB) string {
	t.Helper()
	shared.once.Do(shared.start)
	if errors.Is(shared.err, errMissing) && os.Getenv("CHARTKEEP_TEST_REQUIRE") != "1" {
		t.Skipf("NOT TESTED ON POSTGRESQL: %v", shared.err)
	}
	if shared.err != nil {
		t.Fatalf("start PostgreSQL: %v", shared.err)
	}
	name := fmt.Sprintf("test%d", shared.count.Add(1))
	if _, err := shared.admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if _, err := shared.admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return shared.dsn(name)
}

// Copy makes a copy of a database that New or Copy made and that nobody is
// connected to, which lives as long as the test, and returns its connection
// string.
func Copy(t testing.TB, dsn string) string {
	t.Helper()
	_, rest, _ := strings.Cut(dsn, " dbname=")
	from, _, _ := strings.Cut(rest, " ")
	to := New(t)
	_, rest, _ = strings.Cut(to, " dbname=")
	name, _, _ := strings.Cut(rest, " ")
	for _, command := range []string{"DROP DATABASE " + name, "CREATE DATABASE " + name + " TEMPLATE " + from} {
		if _, err := shared.admin.Exec(command); err != nil {
			t.Fatalf("copy database: %v", err)
		}
	}
	return to
}

func (c *cluster) dsn(database string) string {
	return "host=" + c.dir + " user=postgres dbname=" + database + " sslmode=disable"
}

func (c *cluster) start() {
	if c.err = c.launch(); c.err != nil {
		c.stop()
	}
}

func (c *cluster) launch() error {
	bin, err := programs()
	if err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "ckpg"); err != nil { // short: a socket's path holds 107 bytes
		return err
	}
	who, err := owner(c.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(c.dir, "data")
	// ICU orders text as people do, not by its bytes. A query that relies on
	// the order of bytes without saying so then fails here, and not first on
	// an operator's machine.
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata", data, "--username=postgres", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
	initdb.Dir, initdb.SysProcAttr = c.dir, attributes(who)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	c.server = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+c.dir,
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "timezone=UTC")
	c.server.Dir, c.server.Stdout, c.server.Stderr = c.dir, &c.log, &c.log
	c.server.SysProcAttr = attributes(who)
	if err := c.spawn(); err != nil {
		return err
	}
	return c.await()
}

// spawn starts the server from a thread that lives as long as the process,
// because the kernel ends the server with the thread that started it.
func (c *cluster) spawn() error {
	started := make(chan error)
	c.ended = make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := c.server.Start()
		started <- err
		if err == nil {
			c.server.Wait()
		}
		close(c.ended)
	}()
	return <-started
}

// await returns when the server answers.
func (c *cluster) await() (err error) {
	if c.admin, err = sql.Open("pgx", c.dsn("postgres")); err != nil {
		return err
	}
	patience := time.NewTimer(60 * time.Second)
	defer patience.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = c.admin.PingContext(context.Background()); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return fmt.Errorf("the server ended: %s", c.log.Bytes())
		case <-patience.C:
			return fmt.Errorf("the server does not answer: %w", err)
		}
	}
}

func (c *cluster) stop() {
	if c.admin != nil {
		c.admin.Close()
	}
	if c.server != nil && c.server.Process != nil {
		c.server.Process.Signal(syscall.SIGQUIT) // at once; nothing of it is needed any more
		<-c.ended
	}
	if c.dir != "" {
		os.RemoveAll(c.dir)
	}
}

// programs is the folder of the newest PostgreSQL of this machine.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// owner gives the folder to an account that PostgreSQL agrees to run as, since
// it refuses root. Nil is the account of this process.
func owner(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no other account for it (postgres, nobody)")
}
