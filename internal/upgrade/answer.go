package upgrade

import (
	"context"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
)

// What follows answers the watch. It asks for no right.

// OpenAdvisories says what is known to be open in the images that a version of
// a chart runs by default. ok says whether something is; where it cannot be
// told, the text says so.
func (s *Service) OpenAdvisories(ctx context.Context, upstream, chartName, version string) (text string, ok bool) {
	is, err := s.think(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "read the inputs of judgements", "error", err)
		return "not known: the advisories could not be read", false
	}
	if len(is.db.Snapshots()) == 0 {
		return "not known: no advisories were imported", false
	}
	archive, _, err := s.watch.FetchArchive(ctx, deployment.Published{Upstream: upstream, Chart: chartName, Version: version})
	if err != nil {
		return "not known: " + sayError(err), false
	}
	rendered, err := manifest.Render(archive, manifest.Options{Lenient: true, Limits: s.render})
	if err != nil {
		return "not known: the chart does not render by itself", false
	}
	var images []string
	for _, i := range manifest.Images(rendered.Objects) {
		if i.Confidence != manifest.Possible {
			images = append(images, i.Ref)
		}
	}
	f := is.look(images, nil, chartName, version)
	if len(images) == 0 {
		return "not known: by default the chart runs no image", false
	}
	text = fmt.Sprintf("%d in the default images", len(f.byKey))
	if n := len(f.unknown); n > 0 {
		text += "; " + count(n, "image is", "images are") + " unknown"
	}
	return text, len(f.byKey) > 0
}

// ReviewedArchive says whether a review of an archive of a chart was signed.
// Cost: the newest thousand signed reviews of the chart at most.
func (s *Service) ReviewedArchive(ctx context.Context, chartName, archive string) (bool, error) {
	list, err := s.store.ListReviews(ctx, ReviewFilter{Chart: chartName, State: ReviewSigned, Limit: 1000})
	for _, r := range list {
		if r.To.Archive == archive {
			return true, err
		}
	}
	return false, err
}
