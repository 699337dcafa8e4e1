/** An object of the Kubernetes API. */
export interface ApiObject {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

export interface ApiServer extends AsyncDisposable {
  /** A kubeconfig that leads here, as text. */
  readonly kubeconfig: string;
}

const pathForm =
  /^\/(?:api|apis\/[^/]+)\/[^/]+(?:\/namespaces\/[^/]+(?=\/.))?\/([^/]+)(?:\/([^/]+))?(?:\/[^/]+)?$/;

/**
 * The part of an API server without which a kubelet takes no notice of a pod's RuntimeClass: objects are those of
 * `resources`, by resource, and what the kubelet itself creates (its lease, its CSINode). Nothing ever changes for
 * watchers, no pod comes from here, and whoever asks may do everything.
 */
export function startApiServer(
  resources: Readonly<Record<string, readonly ApiObject[]>>,
): ApiServer {
  const stored = new Map<string, ApiObject>();
  for (const [resource, objects] of Object.entries(resources)) {
    for (const object of objects)
      stored.set(`${resource}/${object.metadata.name}`, versioned(object));
  }
  const itemsOf = (resource: string) =>
    [...stored].filter(([key]) => key.startsWith(`${resource}/`)).map(([, object]) => object);

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const url = new URL(request.url);
      const [, resource = "", name] = pathForm.exec(url.pathname) ?? [];
      // Static pods have a copy in the API for people to see: this one keeps none.
      const items = resource === "pods" ? [] : itemsOf(resource);
      if (request.method === "GET" && name === undefined) {
        if (url.searchParams.get("watch") !== "true") return Response.json(listOf(items));
        // The client lists instead (KEP-3157).
        return url.searchParams.has("sendInitialEvents") ? failure("Invalid", 422) : silence();
      }
      if (request.method === "POST" || request.method === "PUT") {
        const object = versioned((await request.json()) as ApiObject);
        stored.set(`${resource}/${object.metadata.name}`, object);
        return Response.json(object, { status: request.method === "POST" ? 201 : 200 });
      }
      const found = stored.get(`${resource}/${name}`);
      if (found !== undefined) return Response.json(found);
      return failure("NotFound", 404);
    },
  });
  const cluster = { name: "test", cluster: { server: `http://127.0.0.1:${server.port}` } };
  const context = { name: "test", context: { cluster: "test", user: "" } };
  return {
    kubeconfig: JSON.stringify({
      ...{ apiVersion: "v1", kind: "Config", "current-context": "test" },
      ...{ clusters: [cluster], contexts: [context] },
    }),
    async [Symbol.asyncDispose]() {
      await server.stop(true);
    },
  };
}

const version = { resourceVersion: "1" };

function versioned<T extends ApiObject>(object: T) {
  return {
    ...object,
    metadata: { uid: `uid-${object.metadata.name}`, ...object.metadata, ...version },
  };
}

function listOf(items: readonly ApiObject[]) {
  const { kind = "", apiVersion = "v1" } = items[0] ?? {};
  return { kind: `${kind}List`, apiVersion, metadata: version, items };
}

function failure(reason: string, code: number): Response {
  const status = { kind: "Status", apiVersion: "v1", status: "Failure", reason, code };
  return Response.json({ ...status, message: reason }, { status: code });
}

/** A watch that stays open. */
function silence(): Response {
  const body = new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from("\n")) });
  return new Response(body, { headers: { "content-type": "application/json" } });
}
