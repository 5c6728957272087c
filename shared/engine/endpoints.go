package engine

// A Request is one that Fleetune sends to a running engine.
type Request struct {
	Method string
	Path   string
}

// Endpoints are what a running engine offers beside the OpenAI API.
type Endpoints struct {
	// Ready answer with 200 when the engine can serve, asked in this order;
	// each has to before the next is asked.
	Ready []Request
	// Completion says that only an answered completion proves it ready: its
	// probes answer before the model does.
	Completion bool
	// Flush drops the cached prefixes; nil where there is no such request.
	Flush *Request
	// FlushEnv has to be in the engine's environment for Flush to exist.
	FlushEnv map[string]string
	// Metrics is the path of the Prometheus metrics; MetricsFlag is the
	// argument that has to be given for it, if any.
	Metrics     string
	MetricsFlag string
	// Settings tell the effective settings; Engine.ReadSettings reads their
	// bodies. One that answers with 404 is left out.
	Settings []Request
}

// Endpoints returns what the engine offers at its version.
func (e *Engine) Endpoints() Endpoints { return e.endpoints(e.flags) }
