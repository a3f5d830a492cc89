package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upstream"
)

const upstreamCompareLong = `
Compare two states of a repository's index.yaml, without a server. Each event
is one of these:

  added              a version that OLD does not have
  changed            the same version with another digest, or without one
  vanished           a version that NEW does not have
  returned           a version that had vanished (never between two files alone)
  duplicate          a version that NEW lists several times, with other digests
  created-rewritten  the same digest with another time of creation
  invalid            an entry that Helm cannot use, or all of NEW

Digests are those that the index states. Whether the content of an archive
changed, or the same files were packed again, needs both archives.`

// compareOptions are those of upstream compare.
type compareOptions struct{ exitDiff bool }

func (o *compareOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.exitDiff, "exit-diff", false, "exit with 7 when there are events")
}

func (a *app) upstreamCompareCommand() *cobra.Command {
	var o compareOptions
	return a.leaf(command{
		use: "compare OLD NEW", short: "Compare two states of an index.yaml", long: upstreamCompareLong,
		example: `
chartkeep upstream compare index.old.yaml index.yaml
chartkeep upstream compare index.old.yaml index.yaml --exit-diff -o json`,
		args: arguments{2, 2, "two index files"}, flags: o.register, files: true,
		run: func(_ context.Context, args []string) (result, error) {
			r, err := compareIndexes(args[0], args[1])
			if err != nil {
				if len(r.Events) > 0 {
					return r, err
				}
				return nil, err
			}
			if o.exitDiff && len(r.Events) > 0 {
				return r, differs{}
			}
			return r, nil
		},
	})
}

// compareIndexes compares two files. A NEW that is no index is an event, since
// a watcher would see it as one, and an error too: the versions in it could not
// be compared. An OLD that is none leaves nothing to say.
func compareIndexes(oldPath, newPath string) (upstreamComparison, error) {
	lim := upstream.DefaultLimits()
	read := func(path string) (upstream.Index, error) {
		b, err := readFile(path, int64(lim.Bytes))
		if err != nil {
			return upstream.Index{}, err
		}
		x, err := upstream.Parse(b, lim)
		if p, ok := problem.As(err); ok {
			return x, p.With("file", "%s", path)
		}
		return x, err
	}
	old, err := read(oldPath)
	if err != nil {
		return upstreamComparison{}, err
	}
	var events []upstream.Event
	current, err := read(newPath)
	switch {
	case err == nil:
		events = upstream.Compare(old, current)
	case problem.KindOf(err) == problem.Invalid:
		events = []upstream.Event{upstream.Unreadable(err)}
	default:
		return upstreamComparison{}, err
	}
	r := upstreamComparison{Events: make([]upstreamEvent, len(events))}
	for i, e := range events {
		r.Events[i] = upstreamEvent{
			Event: string(e.Kind), Chart: e.Chart, Version: e.Version, OldDigest: e.OldDigest, NewDigest: e.NewDigest,
			OldCreated: e.OldCreated, NewCreated: e.NewCreated, Detail: e.Detail,
		}
	}
	return r, err
}

// upstreamComparison is what happened between two states of an index.
type upstreamComparison struct {
	Events []upstreamEvent `json:"events"`
}

type upstreamEvent struct {
	Event     string `json:"event"`
	Chart     string `json:"chart"`   // "" for the whole index
	Version   string `json:"version"` // likewise
	OldDigest string `json:"old_digest"`
	NewDigest string `json:"new_digest"`
	// The times of created-rewritten.
	OldCreated time.Time `json:"old_created,omitzero"`
	NewCreated time.Time `json:"new_created,omitzero"`
	Detail     string    `json:"detail,omitempty"`
}

func (upstreamComparison) schema() string { return "upstream-compare/v1" }

func (r upstreamComparison) keys() []string {
	var keys []string
	for _, e := range r.Events {
		if e.Chart == "" {
			keys = append(keys, e.Event)
			continue
		}
		keys = append(keys, fmt.Sprintf("%s %s@%s", e.Event, e.Chart, e.Version))
	}
	return keys
}

func (r upstreamComparison) view() view {
	b := block{head: []string{"EVENT", "CHART", "VERSION", "OLD", "NEW", "DETAIL"}, empty: "nothing happened"}
	for _, e := range r.Events {
		detail := e.Detail
		if !e.NewCreated.IsZero() {
			detail = "was " + stampSeconds(e.OldCreated) + ", now " + stampSeconds(e.NewCreated)
		}
		b.rows = append(b.rows, []string{e.Event, e.Chart, e.Version, shortHex(e.OldDigest), shortHex(e.NewDigest), detail})
	}
	return view{b}
}

// shortHex shortens the digest of an index, which has no algorithm in front.
func shortHex(digest string) string { return digest[:min(len(digest), 12)] }
