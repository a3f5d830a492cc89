package cli

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/daemon"
)

// custodyResults are samples of what is said of backups and recoveries.
func custodyResults() []result {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	backup := custody.Backup{
		ID: "20260302t120000000z-abcdefgh", Time: noon, Version: "v1.0.0", Database: custody.Dump{Kind: custody.DumpSQLite, Migrations: map[string]string{"0001_registry.sql": "0a1b"}},
		Logs: []custody.BackupHead{{Log: custody.Releases, Size: 9000, Root: "RQ==", Checkpoint: "log.example.test\n9000\nRQ==\n\n— log.example.test abc=\n"}, {Log: custody.Audits, Size: 31337, Root: "Rg==", Checkpoint: "log.example.test/audit\n…\n"}},
		Keys: []string{"log.vkey", "audit.vkey"}, Blobs: 1234, Bytes: 56_789_012, Missing: []string{"sha256:0a1b"}, Contents: "sha256:2c3d",
	}
	report := custody.Report{
		Ranges:   []custody.Range{{Log: custody.Releases, From: 8990, To: 9000, Root: "RQ=="}, {Log: custody.Audits, From: 31300, To: 31337, Root: "Rg=="}},
		Releases: 2, Refs: []string{"team-a/demo/web@1.4.2", "team-a/demo/web@1.4.3"},
		Leaves:   []custody.Counted{{Name: "chartkeep/release/v1", What: "leaves of the release log", Count: 2}},
		Events:   []custody.Counted{{Name: "release.accepted", What: "a new release exists", Count: 2}},
		Withdraw: []custody.Counted{{Name: "token.revoked", What: "tokens are revoked again", Count: 1}},
		Lost:     []custody.Counted{{Name: "account.created", What: "an account was created", Count: 3}},
		Losses:   []custody.Loss{{Index: 8995, Ref: "team-a/demo/web@1.4.3", What: "its archive: there is no blob\x1b[2J"}},
	}
	return []result{
		recovery{report},
		backedUp{"/backup/chartkeep", backup},
		restored{"/var/lib/chartkeep", daemon.Restored{Backup: backup, Behind: []custody.Log{custody.Releases}, Blobs: 1200, Present: 34}},
	}
}
