package manifest

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Confidence is how sure it is that a text is an image that will run.
type Confidence string

// The confidences, from the surest.
const (
	Exact    Confidence = "exact"    // a container's image, or a field that is known to be one
	Likely   Confidence = "likely"   // a field of an unknown kind that is called image and has the form of one
	Possible Confidence = "possible" // an argument or a variable that has the form of one
)

// Image is an image that an object runs, or hands to something that may run it.
type Image struct {
	Object     string     `json:"object"`    // the object's ID
	Container  string     `json:"container"` // its name; "" outside containers
	Path       string     `json:"path"`      // of the field in the object
	Ref        string     `json:"image"`     // as written
	Confidence Confidence `json:"confidence"`
}

// Images are the images of the objects, in their order; test hooks included.
// A field is listed once; an image may be there several times.
func Images(objects []Object) []Image {
	var out []Image
	for _, o := range objects {
		out = append(out, imagesOf(o)...)
	}
	return out
}

func imagesOf(o Object) []Image {
	var out []Image
	seen := map[string]bool{}
	add := func(container, path, ref string, c Confidence) {
		if ref = strings.TrimSpace(ref); ref != "" && !seen[path] {
			seen[path] = true
			out = append(out, Image{o.ID(), container, path, ref, c})
		}
	}
	for _, p := range podsOf(o) {
		for _, c := range p.containers() {
			sure := Exact
			if p.likely {
				sure = Likely
			}
			add(c.name, c.path+".image", str(c.fields, "image"), sure)
			hiddenImages(c, func(path, ref string) { add(c.name, path, ref, Possible) })
		}
		for i, v := range tables(p.spec, "volumes") {
			add("", p.path+".volumes["+strconv.Itoa(i)+"].image.reference", str(v, "image", "reference"), Exact)
		}
	}
	if kubernetesOwn(o.Group) || o.Kind == "CustomResourceDefinition" {
		return out
	}
	for _, path := range knownImages[o.Kind] {
		add("", path, str(o.Fields, strings.Split(path, ".")...), Exact)
	}
	if strings.HasSuffix(o.Group, ".k8s.io") {
		return out
	}
	w := imageWalk{add: add}
	w.walk("spec", o.Fields["spec"], 0)
	return out
}

// knownImages are the fields of custom resources that operators run as images.
// Others are found by their form.
var knownImages = map[string][]string{
	"Prometheus":      {"spec.image", "spec.thanos.image"},
	"PrometheusAgent": {"spec.image"},
	"Alertmanager":    {"spec.image"},
	"ThanosRuler":     {"spec.image"},
	"Redis":           {"spec.kubernetesConfig.image", "spec.redisExporter.image"},
	"RedisCluster":    {"spec.kubernetesConfig.image", "spec.redisExporter.image"},
	"RedisSentinel":   {"spec.kubernetesConfig.image"},
	"Cluster":         {"spec.imageName"},
	"Pooler":          {"spec.pgbouncer.image"},
	"postgresql":      {"spec.dockerImage"},
	"PostgresCluster": {"spec.image", "spec.backups.pgbackrest.image", "spec.proxy.pgBouncer.image", "spec.monitoring.pgmonitor.exporter.image"},
	"Elasticsearch":   {"spec.image"},
	"Kibana":          {"spec.image"},
	"Kafka":           {"spec.kafka.image", "spec.zookeeper.image", "spec.entityOperator.topicOperator.image", "spec.entityOperator.userOperator.image"},
	"MongoDB":         {"spec.image"},
	"RabbitmqCluster": {"spec.image"},
	"Jaeger":          {"spec.allInOne.image"},
	"Keycloak":        {"spec.image"},
	"Grafana":         {"spec.image", "spec.baseImage"},
	"ArgoCD":          {"spec.image"},
	"VMSingle":        {"spec.image.repository"},
}

// imageWalk looks for images in objects of kinds that are not known.
type imageWalk struct {
	add func(container, path, ref string, c Confidence)
}

func (w imageWalk) walk(path string, v any, depth int) {
	if depth > 20 {
		return
	}
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			w.walk(path+"["+strconv.Itoa(i)+"]", e, depth+1)
		}
	case map[string]any:
		if ref := splitImage(v); ref != "" {
			w.add("", path, ref, Likely)
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if s, ok := v[k].(string); ok {
				lower := strings.ToLower(k)
				if (lower == "image" || strings.HasSuffix(lower, "image") || lower == "imagename") && imageForm.MatchString(s) {
					w.add("", join(path, k), s, Likely)
				}
				continue
			}
			w.walk(join(path, k), v[k], depth+1)
		}
	}
}

// splitImage joins an image that is written as repository and tag.
func splitImage(m map[string]any) string {
	repository, tag := str(m, "repository"), scalar(m["tag"])
	if _, isTable := m["tag"].(map[string]any); isTable || repository == "" || m["tag"] == nil || strings.Contains(repository, "://") {
		return ""
	}
	if registry := str(m, "registry"); registry != "" {
		repository = registry + "/" + repository
	}
	if ref := repository + ":" + tag; imageForm.MatchString(ref) {
		return ref
	}
	return ""
}

var (
	// imageForm is the form of an image reference.
	imageForm = regexp.MustCompile(`^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`)
	// surelyImage is a reference that nothing else looks like: with a host or a
	// path, and a tag or digest.
	surelyImage = regexp.MustCompile(`^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+(?::[0-9]+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+(?::[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64}|:[\w][\w.-]{0,127}@sha256:[0-9a-f]{64})$`)
	imageFlag   = regexp.MustCompile(`^--?([\w.-]*)=(.+)$`)
)

// hiddenImages hands out the images that a container is told of in its arguments
// and variables, by their paths: operators start them.
func hiddenImages(c container, found func(path, ref string)) {
	for _, field := range []string{"args", "command"} {
		for i, e := range list(c.fields, field) {
			s, _ := e.(string)
			if m := imageFlag.FindStringSubmatch(s); m != nil {
				s = m[2]
			}
			if surelyImage.MatchString(s) && len(s) < 512 {
				found(c.path+"."+field+"["+strconv.Itoa(i)+"]", s)
			}
		}
	}
	for _, e := range tables(c.fields, "env") {
		name, value := str(e, "name"), str(e, "value")
		if surelyImage.MatchString(value) && (strings.Contains(strings.ToUpper(name), "IMAGE") || strings.Contains(value, "@sha256:")) && len(value) < 512 {
			found(c.path+".env["+name+"]", value)
		}
	}
}

// ImageName takes an image reference apart. A repository without a host is
// given as it is written; tag and digest may be "".
func ImageName(ref string) (repository, tag, digest string) {
	repository, digest, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:i], repository[i+1:]
	}
	return repository, tag, digest
}

// samePlace makes references to the Docker Hub alike, however they are written.
func samePlace(repository string) string {
	for _, prefix := range []string{"docker.io/", "index.docker.io/", "registry-1.docker.io/"} {
		repository = strings.TrimPrefix(repository, prefix)
	}
	return strings.TrimPrefix(repository, "library/")
}

// movable tags are moved by those who publish them.
var movable = regexp.MustCompile(`^(|latest|stable|edge|main|master|dev|develop|nightly|canary|snapshot|current|release|lts|alpine|slim|[0-9]+|v[0-9]+)$|-(latest|nightly|SNAPSHOT)$`)

// Movable says why what an image reference means can change, or "".
func Movable(ref string) string {
	_, tag, digest := ImageName(ref)
	switch {
	case digest != "":
		return ""
	case tag == "":
		return "has no tag, and so means latest"
	case movable.MatchString(tag):
		return "has the tag " + tag + ", which is moved"
	}
	return ""
}
