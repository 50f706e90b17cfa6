//! Lists: `$select`, `$filter`, `$orderby`, `$top`, paging, schemas.

use super::*;

impl Client {
    async fn names(&self, query: &[(&str, &str)]) -> Vec<String> {
        let answer = self
            .request(Method::GET, "workflows")
            .query(query)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{query:?}");
        let body: Value = answer.json().await.unwrap();
        body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The ids of a list, over all its pages.
    async fn ids(&self, path: &str, page: usize) -> Vec<Guid> {
        let (mut ids, mut next) = (Vec::new(), Some(self.url(path)));
        while let Some(url) = next {
            let answer = self
                .http
                .get(url)
                .bearer_auth(self.simulator.token().unwrap())
                .header("prefer", format!("odata.maxpagesize={page}"))
                .send()
                .await
                .unwrap();
            assert_eq!(
                answer.headers()["preference-applied"],
                format!("odata.maxpagesize={page}")
            );
            let body: Value = answer.json().await.unwrap();
            let rows = body["value"].as_array().unwrap();
            assert!(rows.len() <= page);
            ids.extend(rows.iter().map(|row| id(&row["flowsessionid"])));
            next = body
                .get("@odata.nextLink")
                .map(|link| link.as_str().unwrap().to_owned());
        }
        ids
    }
}

#[tokio::test]
async fn desktop_flows_are_listed_by_category_and_drafts_only_on_demand() {
    let client = Client::new().await;
    let query = [
        ("$filter", "category eq 6"),
        ("$select", "name"),
        ("$orderby", "name desc"),
    ];
    assert_eq!(client.names(&query).await, ["Monthly report", "Book invoice"]);
    let answer = client
        .request(Method::GET, "workflows")
        .query(&query)
        .header("MSCRM.IncludeUnpublished", "true");
    let body: Value = answer.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["value"].as_array().unwrap().len(), 3);
    assert_eq!(
        body["@odata.context"],
        format!("{}(name)", client.url("$metadata#workflows"))
    );
    let row = body["value"][0].as_object().unwrap();
    assert_eq!(row.keys().collect::<Vec<_>>(), ["@odata.etag", "name", "workflowid"]);
    assert!(row["@odata.etag"].as_str().unwrap().starts_with("W/\""));
}

#[tokio::test]
async fn filters_and_top_narrow_the_list() {
    let client = Client::new().await;
    let filter = |text: &'static str| [("$filter", text)];
    assert_eq!(
        client
            .names(&filter("category eq 6 and contains(name,'INVOICE')"))
            .await,
        ["Book invoice"]
    );
    assert_eq!(
        client.names(&filter("name eq 'Book invoice' and statecode eq 1")).await,
        ["Book invoice"]
    );
    assert_eq!(client.names(&filter("name eq 'O''Hara'")).await, Vec::<String>::new());
    assert_eq!(
        client.names(&[("$top", "1"), ("$orderby", "name")]).await,
        ["Book invoice"]
    );
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_a_reason() {
    let client = Client::new().await;
    for (query, reason) in [
        ("$select=nmae", "'nmae'"),
        ("$filter=name eq", "$filter"),
        ("$filter=category%20eq%20'6'", "incompatible types"),
        ("$skip=1", "Skip"),
        ("$expand=x", "$expand"),
        ("$filter=%zz", "percent"),
        ("$skiptoken=mine", "cookie"),
    ] {
        let (status, _, message) = refusal(client.get(&format!("workflows?{query}")).await).await;
        assert!(status == 400 && message.contains(reason), "{query}: {message}");
    }
    let (status, code, message) = refusal(client.get("accounts").await).await;
    assert_eq!((status, code.as_str()), (404, "0x8006088a"));
    assert!(message.contains("'accounts'"));
    let deleted = client.request(Method::DELETE, "workflows").send().await.unwrap();
    assert_eq!(
        (deleted.status().as_u16(), &deleted.headers()["allow"]),
        (405, &"GET".parse().unwrap())
    );
}

#[tokio::test]
async fn pages_link_to_each_other_and_lose_and_repeat_nothing() {
    let client = Client::new().await;
    let mut started = Vec::new();
    for index in 0..7 {
        started.push(
            client
                .start(json!({"callbackUrl": format!("http://127.0.0.1:9/{}", index % 3)}))
                .await,
        );
        client.advance(1);
    }
    assert_eq!(client.ids("flowsessions?$select=statuscode", 3).await, started);
    let newest_first: Vec<Guid> = started.iter().rev().copied().collect();
    let path = "flowsessions?$select=statuscode&$orderby=createdon%20desc&$top=2";
    assert_eq!(client.ids(path, 2).await, newest_first, "a page size makes $top void");
    let mut by_url = client
        .ids("flowsessions?$orderby=callbackurl,createdon%20desc", 2)
        .await;
    assert_eq!(by_url[0], started[6]);
    by_url.sort();
    by_url.dedup();
    assert_eq!(by_url.len(), 7);
    assert_eq!(
        client.ids("flowsessions?$filter=contains(callbackurl,'9/1')", 1).await,
        [started[1], started[4]]
    );
}

#[tokio::test]
async fn a_page_goes_on_after_its_last_row_even_when_rows_were_added_before_it() {
    let client = Client::new().await;
    let old = client.start(json!({})).await;
    client.advance(5);
    let middle = client.start(json!({})).await;
    let list = client.request(Method::GET, "flowsessions?$orderby=createdon%20desc&$select=name");
    let first: Value = list
        .header("prefer", "odata.maxpagesize=1")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(id(&first["value"][0]["flowsessionid"]), middle);
    client.advance(5);
    client.start(json!({})).await;
    let next = first["@odata.nextLink"].as_str().unwrap();
    assert!(
        next.starts_with(&client.simulator.organization()) && next.contains("$skiptoken=%3Ccookie"),
        "{next}"
    );
    let token = client.simulator.token().unwrap();
    let second: Value = client
        .http
        .get(next)
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(second["value"].as_array().unwrap().len(), 1);
    assert_eq!(id(&second["value"][0]["flowsessionid"]), old);
}

#[tokio::test]
async fn runs_are_found_by_id_flow_creation_change_and_status() {
    let client = Client::new().await;
    let first = client.start(json!({"callbackUrl": "http://127.0.0.1:9/token-a"})).await;
    let after = client.simulator.now();
    client.advance(3600);
    let second = client.start(json!({"callbackUrl": "http://127.0.0.1:9/token-b"})).await;
    let find = async |filter: String| {
        let request = client
            .request(Method::GET, "flowsessions")
            .query(&[("$filter", &filter)]);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| id(&row["flowsessionid"]))
            .collect::<Vec<_>>()
    };
    let flow = format!("_regardingobjectid_value eq {BOOK_INVOICE} and triggertype eq 3");
    let soon = client.simulator.now().to_string();
    assert_eq!(
        find(format!("flowsessionid eq {second} or flowsessionid eq {first}")).await,
        [first, second]
    );
    assert_eq!(
        find(format!(
            "(flowsessionid eq {first} or flowsessionid eq {second}) and statuscode eq 4"
        ))
        .await,
        [first]
    );
    assert_eq!(find(flow.clone()).await, [first, second]);
    assert_eq!(find(format!("{flow} and createdon gt {after}")).await, [second]);
    assert_eq!(
        find(format!("{flow} and contains(callbackurl,'token-a')")).await,
        [first]
    );
    assert_eq!(find(format!("modifiedon lt {soon} and statuscode ne 3")).await, [first]);
    assert_eq!(
        find("modifiedon ge 2100-01-01T00:00:00Z".to_owned()).await,
        Vec::<Guid>::new()
    );
    assert_eq!(
        find("not (statuscode eq 3 or statuscode eq 2)".to_owned()).await,
        [first]
    );
}

#[tokio::test]
async fn a_hundred_ids_fit_into_one_query() {
    let client = Client::new().await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(client.start(json!({})).await);
    }
    client.advance(60);
    for _ in 0..40 {
        ids.push(client.start(json!({})).await);
    }
    let filter = ids
        .iter()
        .map(|id| format!("flowsessionid eq {id}"))
        .collect::<Vec<_>>()
        .join(" or ");
    let request = client
        .request(Method::GET, "flowsessions")
        .query(&[("$select", "statuscode"), ("$filter", &filter)]);
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    let rows = body["value"].as_array().unwrap();
    let succeeded = rows.iter().filter(|row| row["statuscode"] == 4).count();
    assert_eq!((rows.len(), succeeded), (100, 60));
}

#[tokio::test]
async fn labels_come_with_annotations_and_an_unchanged_row_with_its_etag_is_not_sent_again() {
    let client = Client::new().await;
    let session = client.start(json!({})).await;
    let path = format!("flowsessions({session})?$select=statuscode");
    let request = client
        .request(Method::GET, &path)
        .header("prefer", "odata.include-annotations=\"*\"");
    let row: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(row["statuscode@OData.Community.Display.V1.FormattedValue"], "Waiting");
    let conditional = |etag: String| client.request(Method::GET, &path).header("if-none-match", etag).send();
    let etag = row["@odata.etag"].as_str().unwrap().to_owned();
    assert_eq!(conditional(etag.clone()).await.unwrap().status(), 304);
    assert_eq!(conditional("null".to_owned()).await.unwrap().status(), 200);
    client.advance(10);
    assert_eq!(conditional(etag).await.unwrap().status(), 200);
}

#[tokio::test]
async fn schemas_are_read_from_the_flow_s_columns() {
    let client = Client::new().await;
    let inputs = client.read(&format!("workflows({BOOK_INVOICE})/inputs/$value")).await;
    assert_eq!(inputs["schema"]["properties"]["Amount"]["type"], "number");
    assert_eq!(inputs["schema"]["properties"]["InvoiceId"]["title"], "InvoiceId");
    let outputs = client.read(&format!("workflows({BOOK_INVOICE})/outputs/$value")).await;
    assert_eq!(outputs["schema"]["properties"]["BookingNumber"]["type"], "string");
    let data = client
        .read(&format!("workflows({BOOK_INVOICE})/clientdata/$value"))
        .await;
    assert_eq!(data["properties"]["inputs"], inputs);
    let report = deskhand::sandbox::power_automate::MONTHLY_REPORT;
    assert_eq!(
        client.get(&format!("workflows({report})/inputs/$value")).await.status(),
        204
    );
    assert_eq!(
        client
            .get(&format!("workflows({CONNECTION_ID})/inputs/$value"))
            .await
            .status(),
        404
    );
}

const CONNECTION_ID: &str = "a8a85e2f-1dec-44ce-8814-a37c34234317";

#[tokio::test]
async fn the_tables_around_the_flows_are_there_for_checks() {
    let client = Client::new().await;
    let references = client
        .read("connectionreferences?$select=connectionreferencelogicalname,connectionid")
        .await;
    assert_eq!(references["value"][0]["connectionid"], CONNECTION);
    let groups = client.read("flowmachinegroups?$filter=name%20eq%20'office'").await;
    assert_eq!(groups["value"].as_array().unwrap().len(), 1);
    let machines = client
        .read("flowmachines?$select=lastheartbeatdate,sessioncapacity,_flowmachinegroupid_value")
        .await;
    assert_eq!(
        machines["value"][0]["_flowmachinegroupid_value"],
        groups["value"][0]["flowmachinegroupid"]
    );
    assert!(client.read("WhoAmI").await["UserId"].is_string());
}

#[tokio::test]
async fn every_answer_tells_the_time_and_its_request_id() {
    let client = Client::new().await;
    client.advance(86_400);
    for path in ["workflows", "accounts", "workflows?$skip=1"] {
        let answer = client.get(path).await;
        let headers = answer.headers();
        let date = headers["date"].to_str().unwrap();
        let expected = client.simulator.now().strftime("%a, %d %b %Y").to_string();
        assert!(date.starts_with(&expected) && date.ends_with("GMT"), "{date}");
        assert_eq!(headers["x-ms-service-request-id"], headers["req_id"]);
        assert!(headers.contains_key("x-ms-ratelimit-burst-remaining-xrm-requests"));
    }
}
