//! The shipped files plan.

#[tokio::test]
async fn every_shipped_file_plans() {
    let pipelines = pipelines::catalogue::shipped().await.expect("they plan");
    for p in &pipelines {
        println!("{} {:?}\n{}", p.name, p.output.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect::<Vec<_>>(), datafusion::physical_plan::displayable(p.plan.as_ref()).indent(false));
    }
}
