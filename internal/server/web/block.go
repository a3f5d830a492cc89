package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// blocking is what a reader of a release may do to keep everybody from it. Who
// may what is decided when a form comes; this is what is offered.
type blocking struct {
	BlockReasons  []release.BlockReason
	QuarantineURL string // target of its forms
	TombstoneURL  string
	MayBlock      bool // put it into quarantine now
	MayConfirm    bool
	MayLift       bool
	MayEntomb     bool          // ask for a tombstone
	Tombstones    []requestView // open requests about this release
	BlockWhy      string        // why this reader cannot confirm the quarantine that waits
}

// offerBlock costs the open requests of the project, for those who may know them.
func (p *releasePage) offerBlock(ctx context.Context, d *Door, c release.Caller, rel *release.Release) error {
	self := releasePath(p.Base, rel.Project, rel.Chart, rel.Version)
	b := &p.blocking
	b.BlockReasons, b.QuarantineURL, b.TombstoneURL = release.BlockReasons(), self+"/quarantine", self+"/tombstone"
	may := func(a access.Action) bool { return d.can(ctx, c, a, rel.Project, rel.Chart, p.Prerelease) }
	if !signedIn(&c.Principal) || rel.State == release.Tombstoned {
		return nil
	}
	set := may(access.QuarantineSet)
	if q := rel.Quarantine; q != nil {
		waits, mine := q.Confirmed.IsZero(), q.By == accountOf(&c)
		decide := isPerson(&c) && may(access.QuarantineDecide)
		b.MayConfirm, b.MayLift = waits && decide && !mine, !mine && decide || waits && mine && set
		switch {
		case !waits || b.MayConfirm:
		case mine:
			b.BlockWhy = "You set it, and it takes a second person to confirm it. You can lift it."
		default:
			b.BlockWhy = "You may not confirm it: that takes the role approver in " + rel.Project + "."
		}
	} else {
		b.MayBlock = set
	}
	if may(access.PolicyRead) {
		list, err := d.svc.Requests(ctx, c, release.RequestFilter{Project: rel.Project})
		if err != nil {
			return err
		}
		for i := range list {
			if q := &list[i]; q.Kind == release.RequestTombstone && q.Chart == rel.Chart && q.Version == rel.Version {
				b.Tombstones = append(b.Tombstones, d.requestView(ctx, c, &p.frame, q))
			}
		}
	}
	b.MayEntomb = len(b.Tombstones) == 0 && isPerson(&c) && may(access.TombstoneRequest)
	return nil
}

// quarantine blocks a release, confirms that, or serves it again.
func (d *Door) quarantine(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c, form := r.Context(), server.CallerOf(r), r.PostForm
	text := strings.TrimSpace(form.Get("text"))
	var err error
	switch form.Get("do") {
	case "set":
		_, err = d.svc.SetQuarantine(ctx, c, req.project, req.chart, req.version, form.Get("reason"), text)
	case "confirm":
		_, err = d.svc.ConfirmQuarantine(ctx, c, req.project, req.chart, req.version, text)
	case "lift":
		_, err = d.svc.LiftQuarantine(ctx, c, req.project, req.chart, req.version, text)
	default:
		err = unknownForm()
	}
	if err != nil {
		return err
	}
	return redirect(w, r, releasePath("", req.project, req.chart, req.version))
}

// tombstone asks that the bytes of a release go for good.
func (d *Door) tombstone(w http.ResponseWriter, r *http.Request, req request) error {
	q, err := d.svc.RequestTombstone(r.Context(), server.CallerOf(r), req.project, req.chart, req.version,
		r.PostForm.Get("reason"), strings.TrimSpace(r.PostForm.Get("text")))
	if err != nil {
		return err
	}
	return redirect(w, r, requestPath("", q.ID))
}
