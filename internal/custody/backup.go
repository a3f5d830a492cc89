package custody

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// A backup is a folder. Its blobs are kept once for all backups that were made
// into it; each of these has a folder of its own:
//
//	blobs/sha256/ab/<hex>               the blobs, as in a blob store
//	snapshots/<id>/manifest.json        a Backup; without it the backup was not finished
//	snapshots/<id>/contents             digest and path of every file, as sha256sum writes and reads it
//	snapshots/<id>/database/…           a Dump
//	snapshots/<id>/keys/…               public keys of the logs, and private ones where they were asked for
//
// What is kept beside the blobs is not in it: it follows from the database, and
// is made anew from it.
const (
	BackupSnapshots = "snapshots"
	BackupManifest  = "manifest.json"
	BackupContents  = "contents"
	BackupDatabase  = "database"
	BackupKeys      = "keys"
)

// A Dump is a database in files, at one moment of its log. SQLite's is one file
// that can be opened; PostgreSQL's has a file for each table, in the text form
// of COPY.
type Dump struct {
	Kind       string            `json:"kind"`       // DumpSQLite or DumpPostgres
	Migrations map[string]string `json:"migrations"` // name and SHA-256 of those that it has
	Tables     []DumpTable       `json:"tables,omitempty"`
}

// DumpTable is a table of PostgreSQL in a file of its name.
type DumpTable struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    int64    `json:"rows"`
}

// The kinds of a dump, and the file of SQLite's.
const (
	DumpSQLite   = "sqlite"
	DumpPostgres = "postgres"
	DumpFile     = "chartkeep.db"
)

// Files are the names of the files of the dump in its folder.
func (d *Dump) Files() []string {
	if d.Kind == DumpSQLite {
		return []string{DumpFile}
	}
	out := make([]string, len(d.Tables))
	for i, t := range d.Tables {
		out[i] = t.Name
	}
	return out
}

// Backup is the manifest of one backup.
type Backup struct {
	Schema   string       `json:"schema,omitempty"`
	ID       string       `json:"id"` // BackupID
	Time     time.Time    `json:"time"`
	Version  string       `json:"version"` // of the program
	Database Dump         `json:"database"`
	Logs     []BackupHead `json:"logs"`
	Keys     []string     `json:"keys"` // files in BackupKeys
	WithKey  bool         `json:"with_key"`
	Blobs    int          `json:"blobs"`
	Bytes    int64        `json:"bytes"` // of blobs
	// Missing are blobs that the database names and that could not be copied,
	// because they were gone or damaged.
	Missing  []string `json:"missing,omitempty"`
	Contents string   `json:"contents"` // digest of the file of that name
}

// BackupHead is a log in a backup.
type BackupHead struct {
	Log        Log    `json:"log"`
	Size       int64  `json:"size"`
	Root       string `json:"root"`
	Checkpoint string `json:"checkpoint"` // signed
}

const (
	manifestSchema = "chartkeep/backup/v1"
	// MaxManifest bounds a manifest in bytes.
	MaxManifest = 16 << 20
	maxMissing  = 100_000
)

// Encode is the text of the manifest.
func (m Backup) Encode() ([]byte, error) {
	m.Schema = manifestSchema
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return append(b, '\n'), nil
}

// BackupID names a backup by its time and some random letters; ids sort by time,
// to the millisecond, since the newest is what a restore takes.
func BackupID(now time.Time, random string) string {
	return strings.Replace(now.UTC().Format("20060102t150405.000z"), ".", "", 1) + "-" + strings.ToLower(random)
}

var (
	backupID  = regexp.MustCompile(`^[0-9]{8}t[0-9]{9}z-[a-z0-9]{4,32}$`)
	tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	keyName   = regexp.MustCompile(`^[a-z][a-z0-9.]{0,62}$`)
)

// IsBackupID says whether a text has the form of BackupID.
func IsBackupID(s string) bool { return backupID.MatchString(s) }

// ParseBackup reads the manifest of a backup. Invalid when it is none, or names what could
// lead out of the backup.
func ParseBackup(data []byte) (Backup, error) {
	var m Backup
	bad := func(format string, args ...any) (Backup, error) {
		return Backup{}, problem.New(problem.Invalid, "backup-manifest", "this is no manifest of a backup: "+format, args...)
	}
	if len(data) > MaxManifest {
		return bad("it has %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return bad("%v", err)
	}
	if m.Schema != manifestSchema {
		return bad("its schema is %.60q", m.Schema)
	}
	if !IsBackupID(m.ID) {
		return bad("its id is %.60q", m.ID)
	}
	db := &m.Database
	if db.Kind != DumpSQLite && db.Kind != DumpPostgres || len(db.Tables) > 1000 || len(db.Migrations) > 1000 {
		return bad("its database is of kind %.60q", db.Kind)
	}
	for _, t := range db.Tables {
		if !tableName.MatchString(t.Name) || len(t.Columns) > 1000 || t.Rows < 0 ||
			slices.ContainsFunc(t.Columns, func(c string) bool { return !tableName.MatchString(c) }) {
			return bad("it has a table %.100q", t.Name)
		}
	}
	for _, k := range m.Keys {
		if !keyName.MatchString(k) || len(m.Keys) > 20 {
			return bad("it has a key file %.100q", k)
		}
	}
	for _, log := range Logs {
		if _, ok := m.Head(log); !ok {
			return bad("it lacks the %s log", log)
		}
	}
	if len(m.Logs) != len(Logs) || len(m.Missing) > maxMissing || digest.Check(m.Contents) != nil {
		return bad("it is not complete")
	}
	return m, nil
}

// Head is a log of the backup.
func (m *Backup) Head(log Log) (BackupHead, bool) {
	for _, h := range m.Logs {
		if h.Log == log && h.Size >= 0 && h.Size <= tlog.MaxSize && len(h.Checkpoint) <= tlog.MaxCheckpoint {
			return h, true
		}
	}
	return BackupHead{}, false
}

// Item is one line of the contents of a backup.
type Item struct {
	SHA256 string // hex
	Path   string // from the folder of the backup, with slashes
}

// Blob is the digest of the blob that the file is, or "".
func (it Item) Blob() string {
	if parts := strings.Split(it.Path, "/"); len(parts) == 4 && parts[0] == "blobs" {
		return parts[1] + ":" + parts[3]
	}
	return ""
}

// maxItems bounds the files of a backup.
const maxItems = 50_000_000

// ReadContents hands every line of the contents to fn. Invalid when a line has
// another form, or a path that leads out of the backup. Cost: one line in
// memory.
func ReadContents(r io.Reader, fn func(Item) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 4096), 4096)
	for n := 0; sc.Scan(); n++ {
		sum, path, ok := strings.Cut(sc.Text(), "  ")
		if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 32 || sum != strings.ToLower(sum) || !IsBackupPath(path) || n >= maxItems {
			return problem.New(problem.Invalid, "backup-contents", "line %d of the contents of the backup is %.100q", n+1, sc.Text())
		}
		if err := fn(Item{sum, path}); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return problem.New(problem.Invalid, "backup-contents", "the contents of the backup cannot be read: %v", err)
	}
	return nil
}

// IsBackupPath says whether a path of slashes is one that a file of a backup
// has: none leads out of it.
func IsBackupPath(p string) bool {
	segments := strings.Split(p, "/")
	for _, s := range segments {
		if s == "" || s[0] == '.' || len(s) > 200 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
			return false
		}
	}
	return (len(segments) == 4 && segments[0] == "blobs") || (len(segments) >= 3 && len(segments) <= 4 && segments[0] == BackupSnapshots && IsBackupID(segments[1]))
}

// WriteItem writes a line of the contents.
func WriteItem(w io.Writer, it Item) error {
	_, err := fmt.Fprintf(w, "%s  %s\n", it.SHA256, it.Path)
	return err
}
