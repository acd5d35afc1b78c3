// An OpenID provider for tests: `node oidc.mjs MODULE REDIRECT_URI SECRET` prints the port it took. MODULE is where npm
// put oidc-provider. The user whom `login_hint` names is logged in at once; others say in a form who they are.
// NAME@proved.example has a proved address.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

const [, , module, redirectUri, secret] = process.argv;
const { Provider } = await import(module);

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
      client_id: 'gorgond&co', client_secret: secret, redirect_uris: [redirectUri],
      grant_types: ['authorization_code'], response_types: ['code'],
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    features: { devInteractions: { enabled: false } },
    pkce: { required: () => true, methods: ['S256'] },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: id, email_verified: id.endsWith('@proved.example'), name: `Name of ${id}` }),
    }),
  });
  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/interaction/')) return next();
    const { params, prompt, session } = await provider.interactionDetails(ctx.req, ctx.res);
    if (params.login_hint === 'nobody') {
      return provider.interactionFinished(ctx.req, ctx.res, { error: 'access_denied' });
    }
    if (prompt.name === 'login' && !params.login_hint && ctx.method === 'GET') {
      ctx.type = 'html';
      ctx.body = '<title>The house</title><form method="post"><input name="who" aria-label="Who"><button>Log in</button></form>';
      return;
    }
    if (ctx.method === 'POST') {
      const form = new URLSearchParams(await text(ctx.req));
      return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: form.get('who') } });
    }
    if (prompt.name === 'login') {
      return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: params.login_hint } });
    }
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    return provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } });
  });
  server.on('request', provider.callback());
  console.log(port);
});
