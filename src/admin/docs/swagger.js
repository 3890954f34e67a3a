"use strict";

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  // It would send the document to a service on the internet.
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
