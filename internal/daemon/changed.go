package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/durable"
)

// fileSettings has the digest of each setting of the last start. It lies in the
// data folder and not in the database, which servers with other settings may
// share. Who removes it hides one change of settings, and shows in doing so
// that he can write where the log key lies.
const fileSettings = "settings.json"

// settingDigests says of each setting what it is without telling it: many are
// secret. The version of the program counts as one.
func (d *Daemon) settingDigests(version string) map[string]string {
	out := map[string]string{}
	add := func(name string, values ...string) {
		h := hmac.New(sha256.New, d.keys.secret)
		h.Write([]byte("setting\x00" + name + "\x00" + strings.Join(values, "\x00")))
		out[name] = hex.EncodeToString(h.Sum(nil)[:16])
	}
	add("version", version)
	for _, s := range settings() {
		if s.list != nil {
			add(s.name, *s.list(&d.cfg)...)
		} else {
			add(s.name, *s.field(&d.cfg))
		}
	}
	return out
}

// noteSettings records which settings are others than at the last start. The
// first start has nothing to compare with.
func (d *Daemon) noteSettings(ctx context.Context) error {
	if d.store.ReadOnly() != nil {
		return nil // at the first start that can write
	}
	now := d.settingDigests(ReadBuild().Version)
	text, err := durable.Read(d.folder.file(fileSettings), 64<<10)
	var before map[string]string
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	first := errors.Is(err, fs.ErrNotExist)
	if err == nil && maps.Equal(before, now) {
		return nil
	}
	if !first {
		changed := []string{"which cannot be told: " + fileSettings + " cannot be read"}
		if err == nil {
			changed = changed[:0]
			for _, name := range slices.Sorted(maps.Keys(now)) {
				if before[name] != now[name] {
					changed = append(changed, name)
				}
			}
		}
		if err := d.store.Record(ctx, time.Now(), audit.Event{
			Time: time.Now(), Name: audit.ConfigChanged, Actor: audit.Actor{Kind: access.KindSystem, ID: "server", Name: "server"}, Door: audit.DoorServer,
			Outcome: audit.Outcome{Result: audit.Allowed}, Detail: map[string]string{"settings": strings.Join(changed, ", "), "version": ReadBuild().Version},
		}); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(now); err != nil {
		return err
	}
	return durable.Replace(d.folder.file(fileSettings), append(text, '\n'), 0o600)
}
