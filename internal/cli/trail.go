package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// auditVerification is what came out of checking the audit log.
type auditVerification struct{ client.AuditVerification }

func (auditVerification) schema() string   { return "audit-verification/v1" }
func (r auditVerification) keys() []string { return []string{string(r.Verdict)} }

func (r auditVerification) view() view {
	return view{
		{facts: []fact{{"log", r.Origin}, {"events", thousands(r.Size)}, {"checked before", thousands(r.From)}, {"root", r.Root}}},
		checksBlock(r.Checks), {facts: []fact{{"verdict", string(r.Verdict)}}},
	}
}

// auditVerifyOptions are the keys, and what was proven before.
type auditVerifyOptions struct {
	logKeyOption
	auditKey, since string
}

func (o *auditVerifyOptions) register(f *pflag.FlagSet) {
	o.logKeyOption.register(f)
	f.StringVar(&o.auditKey, "audit-key", "", "`FILE` with the audit log's key, which is audit.vkey beside log.vkey")
	f.StringVar(&o.since, "since-file", "", "`FILE` that keeps what was proven, so that the next time only what is new is read; made when it is missing")
}

func (a *app) auditVerifyCommand() *cobra.Command {
	var opt auditVerifyOptions
	return a.leaf(command{
		use: "verify --log-key FILE --audit-key FILE [--since-file FILE]", short: "Check from outside that no event was changed or taken out",
		long: `
Check from outside that no audit event was changed, taken out or put in. Every
event is read, and the tree over them is computed here: it has to be the one
that the audit log's key signed, and to go through each state of it that stands
in the release log, which is computed likewise. The addresses that are shown
beside events have to be those that the events commit to.

Keys that the server gives prove nothing: take log.vkey and audit.vkey from its
data folder. Without one the verdict is incomplete. Exit codes are those of
verify. It takes the right to read the audit trail and the log of everything.`,
		example: `
chartkeep audit verify --log-key log.vkey --audit-key audit.vkey
chartkeep audit verify --log-key log.vkey --audit-key audit.vkey \
  --since-file audit.state`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			logKey, err := opt.key()
			if err != nil {
				return nil, err
			}
			trail := logKeyOption{opt.auditKey}
			auditKey, err := trail.key()
			if err != nil {
				return nil, err
			}
			since, err := readAuditState(opt.since)
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			v, err := c.VerifyAudit(ctx, logKey, auditKey, since, a.now())
			if err != nil {
				return nil, err
			}
			if opt.since != "" && v.State != nil {
				if err := keepAuditState(opt.since, v.State); err != nil {
					return nil, err
				}
			}
			switch v.Verdict {
			case client.Failed:
				err = answer{problem.Disproven}
			case client.Incomplete:
				err = answer{problem.Unavailable}
			}
			return auditVerification{v}, err
		},
	})
}

// maxAuditState bounds a kept state: two edges of at most seven levels.
const maxAuditState = 1 << 20

func readAuditState(path string) (*client.AuditState, error) {
	if path == "" {
		return nil, nil
	}
	b, err := readFile(path, maxAuditState)
	if problem.KindOf(err) == problem.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, asUsage(err)
	}
	st, err := client.ParseAuditState(b)
	return st, asUsage(err)
}

func keepAuditState(path string, st *client.AuditState) error {
	return writeFile(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(st)
	})
}

// auditExport is what was exported.
type auditExport struct {
	Format string `json:"format"`
	File   string `json:"file"`
	From   int64  `json:"from"`
	Events int64  `json:"events"`
	Next   int64  `json:"next"` // index of the next event
}

func (auditExport) schema() string   { return "audit-export/v1" }
func (r auditExport) keys() []string { return []string{number(r.Next)} }

func (r auditExport) view() view {
	return view{{facts: []fact{{"file", r.File}, {"format", r.Format}, {"events", thousands(r.Events)}, {"next", fmt.Sprintf("chartkeep audit export --after %d", r.Next-1)}}}}
}

// auditExportOptions say which events leave, and where to.
type auditExportOptions struct {
	auditFilterOptions
	format, file string
	after        int64
}

func (o *auditExportOptions) register(f *pflag.FlagSet) {
	o.auditFilterOptions.register(f)
	f.StringVar(&o.format, "format", "jsonl", "`FORMAT` of the lines: jsonl, cloudevents")
	f.StringVar(&o.file, "file", "", "`FILE` to append to; without it lines go to the standard output")
	f.Int64Var(&o.after, "after", -1, "only events after the one with this `INDEX`; with --file the last one in it")
}

func (a *app) auditExportCommand() *cobra.Command {
	var opt auditExportOptions
	return a.leaf(command{
		use: "export [--format FORMAT] [--file FILE] [--after INDEX]", short: "Write audit events as lines for other systems, the oldest first",
		long: `
Write audit events as lines for other systems, the oldest first: JSON Lines with
the leaf as it stands in the log, or CloudEvents 1.0 in JSON. Each line carries
the event's index in the audit log and the hash of its leaf, so that a copy can
be proven later. With --file lines are appended, and an export that broke off
goes on after the last whole line. That events were exported is an event.`,
		example: `
chartkeep audit export --file audit.jsonl
chartkeep audit export --format cloudevents --since 7d --project demo`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			filter, err := opt.filter(a.now())
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			x := client.AuditExport{AuditFilter: filter, Format: opt.format, From: opt.after + 1}
			if opt.file == "" {
				_, err := a.export(ctx, c, x, a.stdout)
				return nil, err
			}
			r := auditExport{Format: opt.format, File: opt.file}
			f, last, err := openExport(opt.file)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			x.From = max(x.From, last+1)
			r.From, r.Next = x.From, x.From
			if r.Events, err = a.export(ctx, c, x, &lineCount{w: f, next: &r.Next}); err != nil {
				return nil, err
			}
			if err := f.Sync(); err != nil {
				return nil, fileProblem(opt.file, err)
			}
			return r, nil
		},
	})
}

// export fetches page by page. The events that say so are at the end of what
// is exported at the latest: it ends with the events that were there before.
func (a *app) export(ctx context.Context, c *client.Client, x client.AuditExport, w io.Writer) (events int64, err error) {
	for {
		count := &lineCount{w: w}
		next, err := c.ExportAudit(ctx, x, count)
		events += count.lines
		if err != nil || next == 0 {
			return events, err
		}
		x.From = next
	}
}

// lineCount counts the lines that are written, and learns the index of the
// last.
type lineCount struct {
	w     io.Writer
	lines int64
	next  *int64 // nil: not of interest
	part  []byte
}

func (l *lineCount) Write(p []byte) (int, error) {
	l.lines += int64(bytes.Count(p, []byte("\n")))
	if l.next != nil {
		l.part = append(l.part, p...)
		if end := bytes.LastIndexByte(l.part, '\n'); end >= 0 {
			start := bytes.LastIndexByte(l.part[:end], '\n') + 1
			if index, ok := lineIndex(l.part[start:end]); ok {
				*l.next = index + 1
			}
			l.part = append(l.part[:0], l.part[end+1:]...)
		}
	}
	return l.w.Write(p)
}

// lineIndex reads the index of an exported line, of either format.
func lineIndex(line []byte) (int64, bool) {
	var said struct {
		Index      *int64 `json:"index"`
		AuditIndex *int64 `json:"auditindex,string"`
	}
	if json.Unmarshal(line, &said) != nil {
		return 0, false
	}
	switch {
	case said.Index != nil:
		return *said.Index, true
	case said.AuditIndex != nil:
		return *said.AuditIndex, true
	}
	return 0, false
}

// maxExported bounds what is read back of a file: no line is longer.
const maxExported = 64 << 10

// openExport opens a file to append to, cuts a line off that was not written
// whole, and returns the index of the last one; -1 when there is none.
func openExport(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fileProblem(path, err)
	}
	last, err := resumeAt(f)
	if err != nil {
		f.Close()
		if _, ok := problem.As(err); !ok {
			err = fileProblem(path, err)
		}
		return nil, 0, err
	}
	return f, last, nil
}

func resumeAt(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return -1, err
	}
	tail := make([]byte, min(size, 2*maxExported))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if err := f.Truncate(size - int64(len(tail)-end)); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil || end == 0 {
		return -1, err
	}
	start := bytes.LastIndexByte(tail[:end-1], '\n') + 1
	index, ok := lineIndex(tail[start : end-1])
	if !ok {
		return 0, problem.New(problem.Invalid, "export-file", "the last line of the file is no exported event").
			Suggest("give another file, or --after without --file")
	}
	return index, nil
}

// auditFilterOptions select events.
type auditFilterOptions struct {
	client.AuditFilter
	since, until string
}

func (o *auditFilterOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.Project, "project", "", "only events of project `NAME`")
	f.StringVar(&o.Chart, "chart", "", "only events of chart `NAME`")
	f.StringVar(&o.AuditFilter.Version, "version", "", "only events of `VERSION`")
	f.StringVar(&o.Event, "event", "", "only `EVENT`, or those below a prefix such as release.refused.")
	f.StringVar(&o.Actor, "user", "", "only events of `ACCOUNT`")
	f.StringVar(&o.Outcome, "outcome", "", "only events with `OUTCOME`: allowed, denied, error")
	f.StringVar(&o.Rule, "rule", "", "only what `RULE` refused, such as overwrite")
	f.StringVar(&o.Source, "source", "", "only requests from `ADDRESS`")
	f.StringVar(&o.since, "since", "", "only events from `TIME` on: 2026-11-22, 2026-11-22T10:00:00Z, or a span such as 7d")
	f.StringVar(&o.until, "until", "", "only events before `TIME`")
}

// filter reads the times.
func (o *auditFilterOptions) filter(now time.Time) (client.AuditFilter, error) {
	f := o.AuditFilter
	var err error
	if f.Since, err = moment(o.since, now); err != nil {
		return f, err
	}
	f.Until, err = moment(o.until, now)
	return f, err
}

// moment reads a time, a day, or how long ago it was; "" is the zero time.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	if d, err := watch.ParseDuration(s); err == nil {
		return now.Add(-time.Duration(d)).Truncate(time.Second), nil
	}
	return time.Time{}, usage("%q is not a time such as 2026-11-22, 2026-11-22T10:00:00Z or 7d", s)
}

// refusedList are copies of what was refused.
type refusedList struct {
	Items []client.RefusedCopy `json:"items"`
}

func (refusedList) schema() string { return "refused-list/v1" }

func (r refusedList) keys() []string {
	return keysOf(r.Items, func(x client.RefusedCopy) string { return x.Digest })
}

func (r refusedList) view() view {
	b := block{head: []string{"DIGEST", "OFFERED AS", "BY", "TIMES", "LAST", "BYTES", "KEPT UNTIL"}, empty: "nothing is kept that was offered for a released version"}
	for _, x := range r.Items {
		by := x.By
		if by == "" {
			by = x.Actor
		}
		b.rows = append(b.rows, []string{x.Digest, x.Project + "/" + x.Chart + "@" + x.Version, by, number(int64(x.Times)), stamp(x.Last), thousands(x.Size), day(x.Expires)})
	}
	return view{b}
}

func (a *app) auditRefusedCommands() *cobra.Command {
	return group("refused", "See what was offered for released versions, and refused", a.refusedListCommand(), a.refusedGetCommand())
}

func (a *app) refusedListCommand() *cobra.Command {
	var project string
	var limit int
	return a.leaf(command{
		use: "list [--project NAME]", short: "List copies of what was offered for released versions",
		long: `
List copies of what was offered for released versions and refused, the newest
first. The audit trail has every offer; a copy is kept for some time, when it
was not too large. Whoever may read the trail of one project has to name it.`,
		example: `
chartkeep audit refused list --project demo`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&project, "project", "", "only what was offered in project `NAME`")
			f.IntVar(&limit, "limit", 50, "at most so `MANY`")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := c.RefusedCopies(ctx, project, limit)
			return resultOf(refusedList{items}, err)
		},
	})
}

// refusedFile is a copy that was fetched.
type refusedFile struct {
	Digest string `json:"digest"`
	File   string `json:"file"`
	Size   int64  `json:"size"`
}

func (refusedFile) schema() string   { return "refused-file/v1" }
func (r refusedFile) keys() []string { return []string{r.File} }
func (r refusedFile) view() view {
	return view{{facts: []fact{{"file", r.File}, {"digest", r.Digest}, {"bytes", thousands(r.Size)}}}}
}

func (a *app) refusedGetCommand() *cobra.Command {
	var project, file string
	return a.leaf(command{
		use: "get DIGEST --project NAME [--file FILE]", short: "Fetch what was offered and refused",
		long: `
Fetch the bytes that were offered for a released version and refused, for
somebody who finds out what they were. They are what somebody tried to put in
the place of a release: open them with care.`,
		example: `
chartkeep audit refused get sha256:0123… --project demo --file offered.tgz`,
		args: arguments{1, 1, "the DIGEST of what was offered"},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&project, "project", "", "project `NAME` that it was offered in")
			f.StringVar(&file, "file", "", "`FILE` to write to; it must not be there (default: the digest, with .refused)")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			if project == "" {
				return nil, usage("audit refused get needs --project").try("chartkeep audit refused get %s --project NAME", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			b, err := c.Refused(ctx, project, args[0])
			if err != nil {
				return nil, err
			}
			if file == "" {
				file = strings.TrimPrefix(args[0], "sha256:") + ".refused"
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return nil, problem.New(problem.Conflict, "file", "there is a file %s already, and it was left as it is", file)
			}
			if err != nil {
				return nil, fileProblem(file, err)
			}
			_, err = f.Write(b)
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return nil, fileProblem(file, err)
			}
			return refusedFile{args[0], file, int64(len(b))}, nil
		},
	})
}
