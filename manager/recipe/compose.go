package recipe

import (
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/node"
)

// compose is a Compose file with the devices that the engine needs.
func (r Recipe) compose() (string, error) {
	if err := r.container(); err != nil {
		return "", err
	}
	port := strconv.Itoa(r.Port)
	words := r.words(r.model().inside, true)
	service := doc{pair("image", r.image), pair("entrypoint", words[:1]), pair("command", composed(words[1:]))}
	if env := r.variables(); len(env) > 0 {
		service = append(service, pair("environment", env))
	}
	volumes := []string{"huggingface:" + cacheInside}
	if m := r.model(); m.outside != "" {
		volumes = append(volumes, m.outside+":"+m.at+":ro")
	}
	if file, ok := r.plan.File(); ok {
		volumes = append(volumes, "./"+file.Name+":"+optionsInside+"/"+file.Name+":ro")
	}
	service = append(service,
		pair("ports", []string{"127.0.0.1:" + port + ":" + port}),
		pair("volumes", volumes),
		pair("shm_size", "16gb"), // the launcher of the experiments gives its containers as much
		pair("ulimits", doc{pair("memlock", -1)}))
	service = append(append(service, r.composeDevices()...), pair("restart", "unless-stopped"))
	return r.marshal(doc{pair("services", doc{pair(r.name(), service)}), pair("volumes", doc{pair("huggingface", nil)})})
}

// composeDevices are the engine's: NVIDIA's are reserved by their number, AMD's
// are files that a container may open.
func (r Recipe) composeDevices() doc {
	switch r.vendor() {
	case node.CPU:
		return nil
	case amd:
		return doc{pair("devices", []string{"/dev/kfd", "/dev/dri"}), pair("group_add", []string{"video"}),
			pair("security_opt", []string{"seccomp=unconfined"})}
	}
	return doc{pair("deploy", doc{pair("resources", doc{pair("reservations", doc{pair("devices", []doc{{
		pair("driver", "nvidia"), pair("count", r.plan.Devices()), pair("capabilities", []string{"gpu"})}})})})})}
}

// composed protects what Compose would take for a variable.
func composed(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ReplaceAll(w, "$", "$$")
	}
	return out
}

// variables are those of a Compose service; secrets come from its own
// environment.
func (r Recipe) variables() doc {
	var env doc
	for name, value := range sorted(r.env()) {
		env = append(env, pair(name, strings.ReplaceAll(value, "$", "$$")))
	}
	for name := range sorted(r.secrets()) {
		env = append(env, pair(name, "${"+name+":?}"))
	}
	return env
}
